"""Softmax over a chosen item and a sample of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.losses.base import Compared, LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class SampledSoftmax(LossSpec):
    """Negative log-probability of the chosen item among `negatives` others and itself.

    From each score the logarithm of the probability with which its item is drawn is taken, so
    that a popular item, which is drawn often, is not pushed down for it (Bengio & Senécal,
    2008; Yi et al., RecSys 2019). Items that the user has chosen are not drawn.
    """

    task: ClassVar[Task] = "ranking"

    negatives: int = Field(64, ge=1)
    """Items that each chosen item is compared with, drawn anew for each step."""

    draw: Literal["uniform", "popular"] = "popular"
    """Whether other items are drawn alike, or as often as they were chosen."""

    log_q: bool = True
    """Whether scores are corrected by how often items are drawn; matters for `popular`."""

    def outputs(self, targets: int) -> int:
        return 1

    def compared(self) -> Compared:
        return Compared(self.negatives, popular=self.draw == "popular", corrected=self.log_q)

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        return -outputs_NO.log_softmax(-1)[:, 0]

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        return outputs_NO
