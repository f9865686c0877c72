"""Numbers times a vector of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.models.numeric.base import NumericSpec, Quantiles

if TYPE_CHECKING:
    from torch import nn


class LinearNumbers(NumericSpec):
    """Each number times a learnt vector plus a bias, with ReLU."""

    size: int = Field(16, ge=1)
    """Values that each number becomes."""

    def width(self) -> int:
        return self.size

    def build(self, quantiles: Quantiles) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.numbers import EachLinear, Spread

        return nn.Sequential(Spread(), EachLinear(len(quantiles), 1, self.size), nn.ReLU())
