"""AdamW."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.optimizers import _adam
from modelscale.optimizers.base import OptimizerSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.optimizers.base import Hypers, Number, Slots


class Adamw(OptimizerSpec):
    """Adam with decoupled weight decay (Loshchilov & Hutter, arXiv:1711.05101)."""

    slot_names: ClassVar[tuple[str, ...]] = _adam.SLOTS
    scale_free: ClassVar[bool] = True

    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the gradient's running mean."""

    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of the squared gradient's running mean."""

    eps: float = Field(1e-8, gt=0)
    """Added to the root of the second moment, in units of the gradient."""

    weight_decay: float = Field(0.01, ge=0)
    """Fraction of every parameter that a step with lr = 1 removes, apart from the gradient."""

    def update(
        self, theta: Tensor, grad: Tensor, slots: Slots, hypers: Hypers, step: Number
    ) -> None:
        theta.mul_(1 - hypers["lr"] * hypers["weight_decay"])
        _adam.adam_step(theta, grad, slots, hypers, step)

    def update_rows(
        self,
        theta: Tensor,
        grad: Tensor,
        slots: Slots,
        hypers: list[dict[str, float]],
        steps: list[int],
    ) -> bool:
        return _adam.adam_rows(theta, grad, slots, hypers, steps)
