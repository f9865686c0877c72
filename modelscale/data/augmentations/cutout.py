"""Images with a hole."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class Cutout(AugmentationSpec):
    """Set a square of each image to 0 (DeVries & Taylor, arXiv:1708.04552).

    Its centre is anywhere in the image, so that it may reach over the edge.
    """

    draws: ClassVar[int] = 2

    size: int = Field(4, ge=1)
    """Side of the square in pixels."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch

        def within(uniform_B: Tensor, length: int) -> Tensor:
            centre_B = (uniform_B * length).floor().clamp(max=length - 1).to(torch.int64)
            first_B = centre_B[:, None] - self.size // 2
            place_L = torch.arange(length, device=x.device)
            return (place_L >= first_B) & (place_L < first_B + self.size)

        rows_BH = within(uniform[:, 0], x.shape[2])
        columns_BW = within(uniform[:, 1], x.shape[3])
        hole = rows_BH[:, None, :, None] & columns_BW[:, None, None, :]
        return torch.where(hole, torch.zeros_like(x), x)
