"""Mean absolute percentage error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Mape(MetricSpec):
    """Mean of |prediction - target| / |target|, as a fraction (0.1 is 10 %).

    Not defined, and so NaN, where a target is 0.
    """

    task: ClassVar[Task] = "regression"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        size_NT = targets.double().abs()
        size_NT = size_NT.masked_fill(size_NT == 0, float("nan"))
        return ((predictions.double() - targets.double()).abs() / size_NT).mean((-2, -1))
