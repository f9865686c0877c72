"""Spectra with holes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class SpecAugment(AugmentationSpec):
    """Set a row of bands and a row of frames to their mean (Park et al., arXiv:1904.08779).

    The mean is 0 where spectra are standardised. Frames whose bands are all 0 count as padding,
    so a masked frame keeps a trace that tells it apart.
    """

    form: ClassVar[Literal["images", "texts", "recordings"]] = "recordings"
    draws: ClassVar[int] = 4

    bands: float = Field(0.2, ge=0, le=1)
    """Largest share of the bands that is masked."""

    frames: float = Field(0.2, ge=0, le=1)
    """Largest share of the frames that is masked."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch

        bands_BF = _run(uniform[:, 0], uniform[:, 1], x.shape[2], self.bands)
        frames_BT = _run(uniform[:, 2], uniform[:, 3], x.shape[3], self.frames)
        hole = bands_BF[:, None, :, None] | frames_BT[:, None, None, :]
        return torch.where(hole, x * 1e-4, x)


def _run(width_B: Tensor, start_B: Tensor, size: int, most: float) -> Tensor:
    """Return (B, size), whether each place is in a run of random width and start."""
    import torch

    width_B1 = (width_B * (int(most * size) + 1)).floor()[:, None]
    start_B1 = (start_B[:, None] * (size - width_B1 + 1)).floor()
    place = torch.arange(size, device=width_B.device)
    return (place >= start_B1) & (place < start_B1 + width_B1)
