"""Mirror images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class Flip(AugmentationSpec):
    """Mirror the image, left for right or top for bottom."""

    draws: ClassVar[int] = 2

    horizontal: float = Field(0.5, ge=0, le=1)
    """Probability that left and right change places."""

    vertical: float = Field(0.0, ge=0, le=1)
    """Probability that top and bottom change places."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch

        across_B = (uniform[:, 0] < self.horizontal)[:, None, None, None]
        x = torch.where(across_B, x.flip(3), x)
        over_B = (uniform[:, 1] < self.vertical)[:, None, None, None]
        return torch.where(over_B, x.flip(2), x)
