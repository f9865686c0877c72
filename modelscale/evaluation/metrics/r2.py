"""Coefficient of determination."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class R2(MetricSpec):
    """Share of the targets' variance that the predictions explain; 1 is perfect.

    Below 0 where the mean of the targets would have been a better prediction. With several
    target values, the mean of each one's. Not defined, and so NaN, where a target is constant.
    """

    task: ClassVar[Task] = "regression"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    @property
    def possible(self) -> tuple[float, float]:
        return (-math.inf, 1.0)

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        targets = targets.double()
        left_T = (predictions.double() - targets).square().sum(-2)
        total_T = (targets - targets.mean(-2, keepdim=True)).square().sum(-2)
        constant_T = (targets == targets[..., :1, :]).all(-2)
        return (1 - left_T / total_T.masked_fill(constant_T, float("nan"))).mean(-1)
