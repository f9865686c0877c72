"""The optimizer family.

A rule is written for one replica's parameters as one flat vector (P,), element by element.
Elementwise rules broadcast, so the same text updates a stack (K, P) whose numbers are (K, 1)
tensors. Parameters, gradients and slots are changed in place; the gradient is used up.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.components import Component

if TYPE_CHECKING:
    from torch import Tensor

    Number = float | Tensor  # a float, or (K, 1) float32
    Hypers = dict[str, Number]
    Slots = dict[str, Tensor]  # each of the parameters' shape


class OptimizerSpec(Component):
    """A rule that turns gradients into new parameters.

    Every float field is a hyper-parameter that replicas of one cohort may differ in.
    """

    slot_names: ClassVar[tuple[str, ...]] = ()
    """The optimizer's memory: tensors of the parameters' shape that begin at zero."""

    full_batch: ClassVar[bool] = False
    """Whether a step always takes the whole training part."""

    scale_free: ClassVar[bool] = False
    """Whether the length of a step does not depend on the scale of the gradient."""

    lr: float = Field(1e-3, gt=0)
    """Learning rate at its peak, before the schedule scales it."""

    def hypers(self) -> dict[str, float]:
        """Return the float fields by name."""
        return {name: value for name, value in self if isinstance(value, float)}

    @abstractmethod
    def update(
        self, theta: Tensor, grad: Tensor, slots: Slots, hypers: Hypers, step: Number
    ) -> None:
        """Take one step, in place.

        Args:
            theta: (P,) or (K, P) float32 parameters.
            grad: Gradient of the loss, of theta's shape; used up as scratch space.
            slots: The memory, by slot name.
            hypers: The float fields; `lr` is already scheduled. Fields that are not floats
                are read from self and are equal for all replicas.
            step: 1 at the first step; a number where all replicas of a stack have come
                as far, else (K, 1) float32.
        """

    def update_rows(
        self,
        theta: Tensor,
        grad: Tensor,
        slots: Slots,
        hypers: list[dict[str, float]],
        steps: list[int],
    ) -> bool:
        """Take the same step with one fused kernel for each row of a stack (K, P), if any.

        Args:
            theta: (K, P) float32 parameters.
            grad: Of theta's shape; used up as scratch space.
            slots: The memory, by slot name.
            hypers: The float fields of each row; `lr` is already scheduled.
            steps: The step of each row, 1 at its first.

        Returns:
            Whether it was done; False where the rule has no fused kernel.
        """
        return False
