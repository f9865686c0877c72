"""What the losses of pre-training have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class PretextLoss(LossSpec):
    """The loss of a game that needs no labels; the network answers with it by itself."""

    task: ClassVar[Task] = "pretraining"

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        return outputs_NO.mean(-1)

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        return outputs_NO.mean(-1, keepdim=True)
