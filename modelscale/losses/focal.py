"""Focal loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from modelscale.losses._class_weights import ClassWeights, as_tensor, resolve
from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_MISS = 1e-7  # about float32's distance from 1 to its neighbour


class Focal(LossSpec):
    """Cross-entropy times (1 - p)^gamma, so that examples already learnt count for little.

    p is the probability of the true class, by softmax over one output for each class; Lin et
    al. (arXiv:1708.02002) state it for two classes. With class weights the loss of a batch is
    the mean of the weighted losses of its examples.
    """

    task: ClassVar[Task] = "classification"

    gamma: float = Field(2.0, ge=0)
    """How strongly learnt examples are played down; 0 is cross-entropy."""

    class_weights: ClassWeights = "none"
    """Factor on the loss of each class: `none`, `balanced`, or a number for each class."""

    def resolved(self, class_counts: tuple[int, ...]) -> Self:
        weights = resolve(self.class_weights, class_counts)
        return self.model_copy(update={"class_weights": weights})

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        from torch.nn import functional as F

        log_p_N = -F.cross_entropy(outputs_NO, targets_N, reduction="none")
        # At 0 the power's gradient is infinite for a gamma below 1.
        miss_N = (-log_p_N.expm1()).clamp_min(SMALLEST_MISS)
        loss_N = -(miss_N**self.gamma) * log_p_N
        weights_C = as_tensor(self.class_weights, outputs_NO.device)
        return loss_N if weights_C is None else loss_N * weights_C[targets_N]

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        return outputs_NO.softmax(-1)
