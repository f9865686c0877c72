"""Turned images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class Rotate(AugmentationSpec):
    """Turn the image about its centre by a random angle; corners that come in are 0."""

    draws: ClassVar[int] = 1

    degrees: float = Field(10.0, ge=0, le=180)
    """Largest angle, in either direction."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch
        from torch.nn.functional import affine_grid, grid_sample

        angle_B = (2.0 * uniform[:, 0] - 1.0) * math.radians(self.degrees)
        cos_B, sin_B = angle_B.cos(), angle_B.sin()
        none_B = torch.zeros_like(angle_B)
        # The grid has unit sides whatever the picture's: undo that, or it would be sheared.
        ratio = x.shape[2] / x.shape[3]
        first_B3 = torch.stack([cos_B, -sin_B * ratio, none_B], dim=1)
        second_B3 = torch.stack([sin_B / ratio, cos_B, none_B], dim=1)
        turn_B23 = torch.stack([first_B3, second_B3], dim=1)
        grid = affine_grid(turn_B23, list(x.shape), align_corners=False)
        return grid_sample(x, grid, align_corners=False)
