"""Series that run faster here and slower there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.data.augmentations import _steps
from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class TimeWarp(AugmentationSpec):
    """Stretch parts of a series and compress others, by two smooth waves of random phase.

    (After Um et al., arXiv:1706.00527.) Its first and last step and its length stay.
    """

    form: ClassVar[Literal["images", "texts", "series"]] = "series"
    draws: ClassVar[int] = 2

    strength: float = Field(0.1, ge=0, le=0.3)
    """Largest shift of a step by each wave, as a share of the wave's length."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch

        length_B1 = x[:, -1].sum(-1, keepdim=True).clamp(min=2) - 1
        share_BT = torch.arange(x.shape[-1], device=x.device) / length_B1
        moved_BT = share_BT
        for wave in (1, 2):
            size_B1 = self.strength / wave * (2 * uniform[:, wave - 1 : wave] - 1)
            moved_BT = moved_BT + size_B1 * torch.sin(math.pi * wave * share_BT)
        return _steps.resampled(x, moved_BT * length_B1)
