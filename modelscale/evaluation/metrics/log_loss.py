"""Log loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._classes import of_true_class
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class LogLoss(MetricSpec):
    """Mean negative logarithm of the probability given to the right class, in nats.

    Probabilities are held one rounding step of their number format away from 0 and 1, so
    that a single hopeless example does not make the mean infinite.
    """

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        import torch

        step = torch.finfo(predictions.dtype).eps
        right_N = of_true_class(predictions, targets).clamp(step, 1 - step)
        return -right_N.double().log().mean(-1)
