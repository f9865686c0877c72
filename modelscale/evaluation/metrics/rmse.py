"""Root mean squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Rmse(MetricSpec):
    """Root mean squared error, in units of the target; targets count alike.

    With several target values, the mean of each one's root mean squared error.
    """

    task: ClassVar[Task] = "regression"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        error_NT = predictions.double() - targets.double()
        return error_NT.square().mean(-2).sqrt().mean(-1)
