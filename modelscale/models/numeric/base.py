"""The family of numeric embeddings."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from modelscale.components import Component

if TYPE_CHECKING:
    from torch import nn

Quantiles = tuple[tuple[float, ...], ...]
"""Ascending edges of each number's bins, by the quantiles of the training rows."""


class NumericSpec(Component):
    """How each number of a table becomes several inputs (Gorishniy et al., arXiv:2203.05556).

    Every number has weights of its own; categories and the marks of missing cells pass by.
    """

    def quantile_bins(self) -> int:
        """Return how many bins of equally many training rows each number is to be cut into."""
        return 1

    @abstractmethod
    def width(self) -> int:
        """Return how many values a number becomes."""

    @abstractmethod
    def build(self, quantiles: Quantiles) -> nn.Module:
        """Return what maps numbers (batch, D) to (batch, D, width)."""
