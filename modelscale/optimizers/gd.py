"""Full-batch gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.optimizers.base import OptimizerSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.optimizers.base import Hypers, Number, Slots


class Gd(OptimizerSpec):
    """Gradient descent: each step follows the mean gradient of the whole training part.

    One step an epoch; `batch_size` and `accumulate` have no say.
    """

    full_batch: ClassVar[bool] = True

    lr: float = Field(0.1, gt=0)
    """Learning rate at its peak, before the schedule scales it."""

    def update(
        self, theta: Tensor, grad: Tensor, slots: Slots, hypers: Hypers, step: Number
    ) -> None:
        theta.sub_(grad.mul_(hypers["lr"]))
