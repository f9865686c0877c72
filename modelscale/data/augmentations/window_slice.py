"""Pieces of series."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.data.augmentations import _steps
from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class WindowSlice(AugmentationSpec):
    """Take a random piece of a series and stretch it to the length of the whole.

    (Le Guennec et al., ECML AALTD workshop 2016.)
    """

    form: ClassVar[Literal["images", "texts", "series"]] = "series"
    draws: ClassVar[int] = 2

    smallest: float = Field(0.8, gt=0, le=1)
    """Smallest share of the steps that is kept."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch

        length_B1 = (x[:, -1].sum(-1, keepdim=True) - 1).clamp(min=0)
        kept_B1 = self.smallest + (1 - self.smallest) * uniform[:, :1]
        first_B1 = (1 - kept_B1) * length_B1 * uniform[:, 1:]
        place_BT = first_B1 + kept_B1 * torch.arange(x.shape[-1], device=x.device)
        return _steps.resampled(x, place_BT)
