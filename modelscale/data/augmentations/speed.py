"""Recordings that are spoken faster or slower."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.data.augmentations import _frames
from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class Speed(AugmentationSpec):
    """Stretch or squeeze a recording in time, at its own pitch; what no longer fits is cut."""

    form: ClassVar[Literal["images", "texts", "recordings"]] = "recordings"
    draws: ClassVar[int] = 1

    fraction: float = Field(0.15, ge=0, lt=1)
    """Largest change: at 0.15, lengths from 0.85 to 1.15 times what they were."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch

        length_B1 = 1 + self.fraction * (2 * uniform[:, :1] - 1)
        frame_T = torch.arange(x.shape[3], device=x.device, dtype=x.dtype)
        kept = _frames.sampled(_frames.held(x), frame_T / length_B1, axis=3) > 0.999
        return _frames.sampled(x, frame_T / length_B1, axis=3) * kept
