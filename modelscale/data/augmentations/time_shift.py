"""Recordings that begin later or earlier."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.data.augmentations import _windows
from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class TimeShift(AugmentationSpec):
    """Move a recording by whole frames; what leaves is lost, what comes in is padding."""

    form: ClassVar[Literal["images", "texts", "recordings"]] = "recordings"
    draws: ClassVar[int] = 1

    fraction: float = Field(0.1, ge=0, le=1)
    """Largest move in either direction, as a share of all frames."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        right_B = _windows.whole(uniform[:, 0], int(self.fraction * x.shape[3]))
        return _windows.moved(x, right_B * 0, right_B)
