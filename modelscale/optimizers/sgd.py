"""Stochastic gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.optimizers.base import OptimizerSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.optimizers.base import Hypers, Number, Slots


class Sgd(OptimizerSpec):
    """Stochastic gradient descent with heavy-ball or Nesterov momentum, as torch defines it."""

    slot_names: ClassVar[tuple[str, ...]] = ("velocity",)

    lr: float = Field(0.05, gt=0)
    """Learning rate at its peak, before the schedule scales it."""

    momentum: float = Field(0.9, ge=0, lt=1)
    """Fraction of the last step that is repeated."""

    nesterov: bool = False
    """Whether the gradient is looked up after the momentum's part of the step."""

    def update(
        self, theta: Tensor, grad: Tensor, slots: Slots, hypers: Hypers, step: Number
    ) -> None:
        velocity = slots["velocity"].mul_(hypers["momentum"]).add_(grad)
        if self.nesterov:
            theta.sub_(grad.add_(velocity * hypers["momentum"]).mul_(hypers["lr"]))
        else:
            theta.sub_(velocity * hypers["lr"])
