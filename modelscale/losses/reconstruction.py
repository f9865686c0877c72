"""How well a network makes its input again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Reconstruction(LossSpec):
    """The error with which an example is made again; its label teaches nothing.

    A network for it says the logarithm of the error as the difference of two logits, so that
    the probability of the second class is error / (1 + error).
    """

    task: ClassVar[Task] = "classification"
    reconstructs: ClassVar[bool] = True

    trim: float = Field(0.1, ge=0, lt=1)
    """Share of a batch, and of a validation part, that teaches and counts nothing: what is made
    again worst (Rousseeuw, JASA 79, 1984). A little more than the share of anomalies."""

    robust: bool = True
    """Whether the logarithm of 1 + error counts rather than the error."""

    normal_only: bool = False
    """Whether training examples that are labelled 1 are left out of it."""

    def outputs(self, targets: int) -> int:
        if targets != 2:
            raise ValueError(f"reconstruction needs labels 0 and 1, and there are {targets}")
        return targets

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        from torch.nn import functional as F

        odds_N = outputs_NO[..., 1] - outputs_NO[..., 0]
        loss_N = F.softplus(odds_N) if self.robust else odds_N.exp()
        return loss_N * (targets_N == 0).to(loss_N.dtype) if self.normal_only else loss_N

    def over(self, losses_KN: Tensor) -> Tensor:
        kept = max(1, round(losses_KN.shape[-1] * (1 - self.trim)))
        return losses_KN.topk(kept, dim=-1, largest=False).values.mean(-1)

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        return outputs_NO.softmax(-1)
