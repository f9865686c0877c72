"""Mean absolute error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Mae(MetricSpec):
    """Mean absolute error, in units of the target; target values count alike."""

    task: ClassVar[Task] = "regression"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions.double() - targets.double()).abs().mean((-2, -1))
