"""Mean reciprocal rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Mrr(MetricSpec):
    """Mean of 1 / place of chosen items in their user's list of all items."""

    task: ClassVar[Task] = "ranking"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        place = (predictions + 0 * targets)[..., 0].double()
        return (1 / place).mean(-1)
