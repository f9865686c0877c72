"""Texts with holes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor

_UNKNOWN = 1.0
_MIX = 0x9E3779B1  # odd, so that products over all positions differ (Knuth's multiplier)
_BITS = 24


class TokenDropout(AugmentationSpec):
    """Make random symbols of each text unknown (Iyyer et al., ACL 2015, "word dropout")."""

    form: ClassVar[Literal["images", "texts", "series"]] = "texts"
    draws: ClassVar[int] = 2

    rate: float = Field(0.1, ge=0, lt=1)
    """Probability with which a symbol is made unknown."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch

        # An example has two numbers, whatever its length: a hash spreads them over positions.
        seed_B2 = (uniform.double() * (1 << _BITS)).long()
        place_T = torch.arange(x[0].numel(), device=x.device)
        hash_BT = seed_B2[:, :1] ^ (place_T * _MIX & 0xFFFFFFFF)
        for round_seed_B1 in (seed_B2[:, 1:], seed_B2[:, :1]):
            hash_BT = (hash_BT ^ (hash_BT >> 15)) * 0x2C1B3C6D & 0xFFFFFFFF
            hash_BT = (hash_BT ^ (hash_BT >> 12)) * 0x297A2D39 & 0xFFFFFFFF
            hash_BT = hash_BT ^ (hash_BT >> 15) ^ round_seed_B1
        dropped_BT = (hash_BT & ((1 << _BITS) - 1)) < self.rate * (1 << _BITS)
        dropped = dropped_BT.view(x.shape) & (x != 0)  # padding stays padding
        return torch.where(dropped, torch.full_like(x, _UNKNOWN), x)
