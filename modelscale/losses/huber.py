"""Huber loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Huber(LossSpec):
    """Half the squared error up to `delta`, then linear; averaged over the target values.

    (Huber, Annals of Mathematical Statistics 35, 1964.)
    """

    task: ClassVar[Task] = "regression"

    delta: float = Field(1.0, gt=0)
    """Error at which the loss becomes linear, in units of the transformed target."""

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        from torch.nn import functional as F

        loss_NO = F.huber_loss(outputs_NO, targets_N, reduction="none", delta=self.delta)
        return loss_NO.mean(-1)

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        return outputs_NO
