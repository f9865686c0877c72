"""Recordings as if other people spoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.data.augmentations import _frames
from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class VocalTract(AugmentationSpec):
    """Stretch and move the bands, as other vocal tracts do (Jaitly & Hinton, ICML 2013).

    Band b is read at scale · b + offset; beyond the ends the last one repeats.
    """

    form: ClassVar[Literal["images", "texts", "recordings"]] = "recordings"
    draws: ClassVar[int] = 2

    scale: float = Field(0.15, ge=0, lt=1)
    """Largest stretch, as a share."""

    offset: float = Field(0.05, ge=0, le=1)
    """Largest move, as a share of the bands."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch

        bands = x.shape[2]
        scale_B1 = 1 + self.scale * (2 * uniform[:, :1] - 1)
        offset_B1 = self.offset * bands * (2 * uniform[:, 1:2] - 1)
        band_F = torch.arange(bands, device=x.device, dtype=x.dtype)
        place_BF = (band_F * scale_B1 + offset_B1).clamp(0, bands - 1)
        return _frames.sampled(x, place_BF, axis=2)
