"""Expected cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.costs import CostTable, cheapest, costs_of, table_of
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class ExpectedCost(MetricSpec):
    """Mean cost of an example if each gets the class that its probabilities make cheapest.

    With calibrated probabilities no other decision costs less on average (Elkan, IJCAI 2001).
    """

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    costs: CostTable | None = None
    """Cost of each true class (rows) decided as each class (columns), classes in order; by
    default 1 for every wrong answer."""

    def check(self, classes: int) -> None:
        table_of(self.costs, classes)

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        cost_CC = table_of(self.costs, predictions.shape[-1]).to(predictions.device)
        cost = costs_of(cheapest(predictions, cost_CC), targets, cost_CC).mean(-1)
        return cost.masked_fill(predictions.isnan().any(-1).any(-1), float("nan"))
