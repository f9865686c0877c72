"""Moved images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.data.augmentations import _windows
from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class Shift(AugmentationSpec):
    """Move the image by a share of its height and width, in whole pixels; the rest is 0."""

    draws: ClassVar[int] = 2

    fraction: float = Field(0.1, ge=0, le=1)
    """Largest move in either direction, as a share of the side."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        down_B = _windows.whole(uniform[:, 0], int(self.fraction * x.shape[2]))
        right_B = _windows.whole(uniform[:, 1], int(self.fraction * x.shape[3]))
        return _windows.moved(x, down_B, right_B)
