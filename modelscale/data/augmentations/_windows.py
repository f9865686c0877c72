"""Windows of images, moved by whole pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def moved(x: Tensor, down_B: Tensor, right_B: Tensor) -> Tensor:
    """Return images moved by whole pixels; what comes in is 0.

    Args:
        x: (B, channels, height, width).
        down_B: Rows to move down, int64; negative is up.
        right_B: Columns to move right, int64; negative is left.
    """
    import torch

    height, width = x.shape[2:]
    row_BH = torch.arange(height, device=x.device) - down_B[:, None]
    column_BW = torch.arange(width, device=x.device) - right_B[:, None]
    inside_BH = (row_BH >= 0) & (row_BH < height)
    inside_BW = (column_BW >= 0) & (column_BW < width)
    rows = row_BH.clamp(0, height - 1)[:, None, :, None].expand(-1, x.shape[1], -1, width)
    columns = column_BW.clamp(0, width - 1)[:, None, None, :].expand_as(x)
    picked = x.gather(2, rows).gather(3, columns)
    inside = inside_BH[:, None, :, None] & inside_BW[:, None, None, :]
    return torch.where(inside, picked, torch.zeros_like(picked))


def whole(uniform_B: Tensor, largest: int) -> Tensor:
    """Return uniform whole numbers from -largest to largest, int64, from [0, 1)."""
    import torch

    # The product may round up to the number above the range.
    number_B = (uniform_B * (2 * largest + 1)).floor().to(torch.int64)
    return number_B.clamp(max=2 * largest) - largest
