"""Binary cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class BinaryCrossEntropy(LossSpec):
    """Negative log-probability of the true one of two classes, from a single output.

    The output is the log-odds of the second class. With `pos_weight` the loss of a batch is
    the mean of the weighted losses of its examples.
    """

    task: ClassVar[Task] = "classification"

    pos_weight: Literal["none", "balanced"] | Annotated[float, Field(gt=0)] = "none"
    """Factor on the loss of the second class's examples: `none`, a number, or `balanced`:
    examples of the first class over examples of the second."""

    def outputs(self, targets: int) -> int:
        _check_two(targets)
        return 1

    def resolved(self, class_counts: tuple[int, ...]) -> Self:
        _check_two(len(class_counts))
        if self.pos_weight != "balanced":
            return self
        negative, positive = class_counts
        weight = negative / positive if negative and positive else 1.0
        return self.model_copy(update={"pos_weight": weight})

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        from torch.nn import functional as F

        outputs_N, positive_N = outputs_NO.squeeze(-1), targets_N.to(outputs_NO.dtype)
        loss_N = F.binary_cross_entropy_with_logits(outputs_N, positive_N, reduction="none")
        if self.pos_weight == "none":
            return loss_N
        assert self.pos_weight != "balanced", "resolved() writes it out before training"
        return loss_N * (1 + (self.pos_weight - 1) * positive_N)

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        import torch

        # Not 1 - p: that would round the small probability of a sure answer to 0.
        return torch.cat([(-outputs_NO).sigmoid(), outputs_NO.sigmoid()], dim=-1)


def _check_two(classes: int) -> None:
    if classes != 2:
        raise ValueError(
            f"binary_cross_entropy is for two classes, not {classes}; use cross_entropy"
        )
