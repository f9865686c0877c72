"""Loss of a pre-training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._nats import mean_nats
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class PretextLoss(MetricSpec):
    """Mean loss of the game that a network learns from without labels."""

    task: ClassVar[Task] = "pretraining"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return mean_nats(predictions, targets)
