"""Waves of learnt frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.models.numeric.base import NumericSpec, Quantiles

if TYPE_CHECKING:
    from torch import nn


class Periodic(NumericSpec):
    """Sines and cosines of each number at learnt frequencies, then a linear layer with ReLU."""

    frequencies: int = Field(16, ge=1)
    """Frequencies of each number."""

    sigma: float = Field(0.1, gt=0)
    """Deviation of the frequencies that training begins with, in waves a standard deviation
    of the number; the most important setting."""

    size: int = Field(16, ge=1)
    """Values that each number becomes."""

    def width(self) -> int:
        return self.size

    def build(self, quantiles: Quantiles) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.numbers import EachLinear, Waves

        return nn.Sequential(
            Waves(len(quantiles), self.frequencies, self.sigma),
            EachLinear(len(quantiles), 2 * self.frequencies, self.size),
            nn.ReLU(),
        )
