"""Series moved along time, and the numbers that changes of many steps need."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_BITS = 24


def spread(uniform_B: Tensor, count: int, salt: int) -> Tensor:
    """Return (B, count) uniform numbers in [0, 1), a hash of one number for each example.

    An example has few numbers of its own, whatever its length.
    """
    import torch

    seed_B1 = (uniform_B.double() * (1 << _BITS)).long()[:, None] + salt * 0x51ED27
    mixed = seed_B1 ^ (torch.arange(1, count + 1, device=uniform_B.device) * 0x9E3779B1)
    for _ in range(3):
        mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D & 0xFFFFFFFF
        mixed = (mixed ^ (mixed >> 12)) * 0x297A2D39 & 0xFFFFFFFF
    return ((mixed >> 8) & ((1 << _BITS) - 1)).float() / (1 << _BITS)


def normal(uniform_B: Tensor, count: int) -> Tensor:
    """Return (B, count) standard normal numbers of one uniform number for each example."""
    import torch

    radius = (-2 * torch.log1p(-spread(uniform_B, count, 1))).sqrt()
    return radius * torch.cos(2 * math.pi * spread(uniform_B, count, 2))


def measured(x: Tensor) -> Tensor:
    """Return (B, channels, 1), whether a channel holds more than flags: not only 0 and 1."""
    flags = (x == 0) | (x == 1)
    return ~flags.all(-1, keepdim=True)


def resampled(x: Tensor, place_BT: Tensor) -> Tensor:
    """Return series read at other places, between two steps in proportion.

    Args:
        x: (B, channels, T).
        place_BT: (B, T) places within a series, in steps from its first one; where padding is
            they do not matter, and it stays.
    """
    import torch

    there = x[:, -1:]
    last_B1 = (there[:, 0].sum(-1, keepdim=True) - 1).clamp(min=0)
    place_BT = torch.minimum(place_BT.clamp(min=0), last_B1)
    before_BT = place_BT.floor()
    share = (place_BT - before_BT)[:, None]
    after_BT = torch.minimum(before_BT + 1, last_B1)
    low = x.gather(2, before_BT.long()[:, None].expand_as(x))
    high = x.gather(2, after_BT.long()[:, None].expand_as(x))
    moved = torch.where(measured(x), torch.lerp(low, high, share), low)
    return torch.cat([(moved * there)[:, :-1], there], dim=1)
