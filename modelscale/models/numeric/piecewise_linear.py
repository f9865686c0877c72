"""Piecewise linear encoding by quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.models.numeric.base import NumericSpec, Quantiles

if TYPE_CHECKING:
    from torch import nn


class PiecewiseLinear(NumericSpec):
    """How far a number has come through each bin: 0 before it, 1 behind it, a share within.

    The bins hold equally many training rows; the first and the last one go on for ever.
    """

    bins: int = Field(8, ge=2, le=256)
    """Bins of each number."""

    size: int | None = Field(None, ge=1)
    """Values that a learnt linear layer with ReLU makes of each number's bins; by default the
    bins go on as they are."""

    def quantile_bins(self) -> int:
        return self.bins

    def width(self) -> int:
        return self.bins if self.size is None else self.size

    def build(self, quantiles: Quantiles) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.numbers import Bins, EachLinear

        bins = Bins(quantiles)
        if self.size is None:
            return bins
        return nn.Sequential(bins, EachLinear(len(quantiles), self.bins, self.size), nn.ReLU())
