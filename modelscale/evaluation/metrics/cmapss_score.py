"""The score of the C-MAPSS challenge."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor

EARLY, LATE = 13.0, 10.0  # cycles after which a too short, and a too long life counts e - 1


class CmapssScore(MetricSpec):
    """Mean of exp(d / 10) - 1 for lives predicted d too long, exp(-d / 13) - 1 for too short.

    (Saxena et al., Prognostics and Health Management 2008, who give the sum over all units:
    this mean times their number.)
    """

    task: ClassVar[Task] = "regression"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        import torch

        error_NT = predictions.double() - targets.double()
        scaled_NT = torch.where(error_NT < 0, -error_NT / EARLY, error_NT / LATE)
        return scaled_NT.expm1().mean((-2, -1))
