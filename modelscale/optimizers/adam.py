"""Adam."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.optimizers import _adam
from modelscale.optimizers.base import OptimizerSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.optimizers.base import Hypers, Number, Slots


class Adam(OptimizerSpec):
    """Adam: steps scaled by running moments of the gradient (Kingma & Ba, arXiv:1412.6980)."""

    slot_names: ClassVar[tuple[str, ...]] = _adam.SLOTS
    scale_free: ClassVar[bool] = True

    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the gradient's running mean."""

    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of the squared gradient's running mean."""

    eps: float = Field(1e-8, gt=0)
    """Added to the root of the second moment, in units of the gradient."""

    def update(
        self, theta: Tensor, grad: Tensor, slots: Slots, hypers: Hypers, step: Number
    ) -> None:
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
