"""Recordings by other microphones, in other rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.data.augmentations import _frames
from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class Loudness(AugmentationSpec):
    """Add a level and a slope over the bands, as another distance and microphone do."""

    form: ClassVar[Literal["images", "texts", "recordings"]] = "recordings"
    draws: ClassVar[int] = 2

    level: float = Field(0.5, ge=0)
    """Largest change of all bands, in their standard deviations."""

    slope: float = Field(0.5, ge=0)
    """Largest change of the lowest and, the other way, of the highest band, likewise."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch

        signed_B2 = 2 * uniform - 1
        tilt_F = torch.linspace(-1, 1, x.shape[2], device=x.device, dtype=x.dtype)
        change_BF = self.level * signed_B2[:, :1] + self.slope * signed_B2[:, 1:] * tilt_F
        return x + change_BF[:, None, :, None] * _frames.held(x)
