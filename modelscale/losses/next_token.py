"""Surprise at the next symbol."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class NextToken(LossSpec):
    """Negative log-probability of each next symbol in nats, averaged over a window.

    A language model's outputs are these nats by themselves (see `models/text_decoder.py`).
    """

    task: ClassVar[Task] = "language_model"

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        return outputs_NO.mean(-1)

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        return outputs_NO.mean(-1, keepdim=True)
