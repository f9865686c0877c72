"""Pinball loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Pinball(MetricSpec):
    """Mean of level · error where a prediction is too low, (1 - level) · error where too high.

    Least at the quantile of that level (Koenker & Bassett, Econometrica 46, 1978).
    """

    task: ClassVar[Task] = "regression"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    level: float = Field(0.5, gt=0, lt=1)
    """The quantile that the predictions are meant to be."""

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        import torch

        error_NT = targets.double() - predictions.double()
        return torch.maximum(self.level * error_NT, (self.level - 1) * error_NT).mean((-2, -1))
