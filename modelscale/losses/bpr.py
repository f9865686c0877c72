"""Bayesian personalised ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.losses.base import Compared, LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Bpr(LossSpec):
    """Negative log-probability that a chosen item is liked better than others (BPR).

    The probability is the sigmoid of the difference of their scores, and the loss the mean over
    `negatives` items that the user has not chosen in the training part, drawn anew for each
    step (Rendle et al., UAI 2009).
    """

    task: ClassVar[Task] = "ranking"

    negatives: int = Field(4, ge=1)
    """Items that each chosen item is compared with."""

    draw: Literal["uniform", "popular"] = "uniform"
    """Whether other items are drawn alike, or as often as they were chosen."""

    def outputs(self, targets: int) -> int:
        return 1

    def compared(self) -> Compared:
        return Compared(self.negatives, popular=self.draw == "popular", corrected=False)

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        from torch.nn import functional as F

        return F.softplus(outputs_NO[:, 1:] - outputs_NO[:, :1]).mean(-1)

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        return outputs_NO
