"""Tokens of what a transformer reads: numbers, categories or symbols."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor, nn


class FeatureTokens(nn.Module):
    """One token for each feature (Gorishniy et al., arXiv:2106.11959, section 3.3).

    A number times a vector of its feature, or the vector of a category, plus the feature's
    bias.
    """

    offsets: Tensor
    drawn: ClassVar[Mapping[str, float]] = {"*": -0.5}
    """Tokens begin smaller the wider they are (see `widths.py`)."""

    def __init__(self, numbers: int, categories: tuple[int, ...], width: int) -> None:
        """Make tokens of `width` for `numbers` numbers, then one for each of `categories`."""
        super().__init__()
        self.numbers, self.features = numbers, numbers + len(categories)
        bound = width**-0.5  # as in the paper's code: tokens begin at the scale of a layer
        self.bias = nn.Parameter(torch.empty(self.features, width).uniform_(-bound, bound))
        if numbers:
            self.weight = nn.Parameter(torch.empty(numbers, width).uniform_(-bound, bound))
        if categories:
            # One table for all features: a feature's codes begin at its offset.
            self.table = nn.Embedding(sum(categories), width)
            nn.init.uniform_(self.table.weight, -bound, bound)
            starts = list(accumulate(categories, initial=0))[:-1]
            self.register_buffer("offsets", torch.tensor(starts))

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, features, width) of x: (batch, features), category codes last."""
        tokens = []
        if self.numbers:
            tokens.append(x[:, : self.numbers, None] * self.weight)
        if self.features > self.numbers:
            codes = x[:, self.numbers :].long() + self.offsets
            tokens.append(self.table(codes))
        out = tokens[0] if len(tokens) == 1 else torch.cat(tokens, 1)
        return out + self.bias


class SymbolTokens(nn.Module):
    """The vector of each symbol plus a learned vector of its position."""

    drawn: ClassVar[Mapping[str, float]] = {"*": -0.5}
    """Tokens begin smaller the wider they are (see `widths.py`)."""

    def __init__(self, vocabulary: int, positions: int, width: int) -> None:
        """Make tokens of `width` for texts of `positions` symbols."""
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(positions, width))
        nn.init.normal_(self.table.weight, std=width**-0.5)
        nn.init.normal_(self.positions, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, positions, width) of x: (batch, positions), symbols as floats."""
        out: Tensor = self.table(x.long()) + self.positions
        return out
