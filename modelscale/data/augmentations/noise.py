"""Recordings with noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.data.augmentations import _frames
from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class Noise(AugmentationSpec):
    """Raise the quiet parts to a random level, as steady noise of all frequencies does.

    Energies add up, so in logarithms the louder of speech and noise remains:
    ln(exp x + exp noise), smoothed by the unit of x, which is each band's deviation.
    """

    form: ClassVar[Literal["images", "texts", "recordings"]] = "recordings"
    draws: ClassVar[int] = 1

    low: float = Field(-3.0, ge=-20, le=20)
    """Quietest noise, in standard deviations from each band's mean."""

    high: float = Field(0.0, ge=-20, le=20)
    """Loudest noise, likewise."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch

        level_B = self.low + (self.high - self.low) * uniform[:, 0]
        noisy = torch.logaddexp(4 * x, 4 * level_B[:, None, None, None]) / 4
        return noisy * _frames.held(x)
