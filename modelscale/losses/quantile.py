"""Pinball loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Quantile(LossSpec):
    """Pinball loss, whose best answer is a quantile (Koenker & Bassett, Econometrica, 1978).

    The mean over the target values of an example.
    """

    task: ClassVar[Task] = "regression"

    level: float = Field(0.5, gt=0, lt=1)
    """The quantile: 0.1 is passed by nine targets of ten."""

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        import torch

        error_NO = targets_N - outputs_NO
        return torch.maximum(self.level * error_NO, (self.level - 1) * error_NO).mean(-1)

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        return outputs_NO
