"""Blends of two examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class Mixup(AugmentationSpec):
    """Blend each example with another one, and its loss alike (Zhang et al., arXiv:1710.09412).

    The share that is kept is 1 - strength · u / 2 with u uniform: at least one half, so that
    the example stays the main one. (The paper draws it from a Beta distribution; its symmetric
    halves are the same blend.)
    """

    draws: ClassVar[int] = 1
    mixes: ClassVar[bool] = True

    strength: float = Field(0.4, gt=0, le=1)
    """Twice the largest share of the other example."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        return x

    def blend(self, uniform: Tensor) -> Tensor:
        return 1.0 - 0.5 * self.strength * uniform[:, 0]
