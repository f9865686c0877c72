"""Random crops of padded images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.data.augmentations import _windows
from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class Crop(AugmentationSpec):
    """Pad the image with 0 on all sides, and cut its old size out of it somewhere."""

    draws: ClassVar[int] = 2

    padding: int = Field(2, ge=0)
    """Pixels on each side."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        down_B = _windows.whole(uniform[:, 0], self.padding)
        right_B = _windows.whole(uniform[:, 1], self.padding)
        return _windows.moved(x, down_B, right_B)
