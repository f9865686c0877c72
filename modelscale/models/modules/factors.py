"""Factorisations of tables whose columns hold the codes of many categories.

Code 0 stands for a category that the training part does not have. It adds nothing, so that the
answer falls back to the mean of what is known.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor, nn

from modelscale.models.modules.dropout import Dropout

SPREAD = 0.1  # of fresh factors: products of two are small beside a standardised target


class CategoryTable(nn.Module):
    """A learnt vector for each known category of several columns, and 0 for unknown ones."""

    offsets: Tensor

    def __init__(self, categories: tuple[int, ...], width: int, spread: float) -> None:
        """Make vectors of `width` from a normal distribution of deviation `spread`.

        Args:
            categories: Number of codes of each column, code 0 included.
            width: Size of a vector.
            spread: 0 begins with zeros.
        """
        super().__init__()
        known = [max(1, count - 1) for count in categories]
        self.table = nn.Embedding(sum(known), width)
        nn.init.normal_(self.table.weight, std=spread)
        starts = list(accumulate(known, initial=0))[:-1]
        self.register_buffer("offsets", torch.tensor(starts))

    def forward(self, codes: Tensor) -> Tensor:
        """Return (batch, columns, width) of codes: (batch, columns) as floats."""
        places = (codes.long() - 1).clamp_min(0) + self.offsets
        out: Tensor = self.table(places) * (codes > 0).to(codes.dtype).unsqueeze(-1)
        return out


class PairFactors(nn.Module):
    """A mean, a bias of each of two categories, and the product of their factors."""

    def __init__(
        self, categories: tuple[int, ...], factors: int, outputs: int, dropout: float
    ) -> None:
        """Make `factors` factors a category for each of `outputs` outputs."""
        super().__init__()
        self.outputs = outputs
        self.mean = nn.Parameter(torch.zeros(outputs))
        self.biases = CategoryTable(categories, outputs, 0.0)
        self.factors = CategoryTable(categories, factors * outputs, SPREAD)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs) of x: (batch, 2), category codes as floats."""
        of_first, of_second = self.factors(x).unbind(1)
        products = self.drop(of_first * of_second)
        matched = products.unflatten(1, (self.outputs, -1)).sum(-1)
        out: Tensor = self.mean + self.biases(x).sum(1) + matched
        return out


class FeatureFactors(nn.Module):
    """A factorisation machine: every two features meet by the product of their factors.

    A number's factors are multiplied by it. The sum over all pairs takes one pass over the
    features (Rendle, ICDM 2010, equation 5).
    """

    def __init__(
        self,
        numbers: int,
        categories: tuple[int, ...],
        factors: int,
        outputs: int,
        layers: list[nn.Module],
        dropout: float,
    ) -> None:
        """Make it for `numbers` numbers, then one column of codes for each of `categories`.

        Args:
            numbers: Numeric features, which come first.
            categories: Number of codes of each column, code 0 included.
            factors: Size of the vector of all pairs.
            outputs: Answers for an example.
            layers: What reads that vector; none adds it up, `factors` being a multiple of
                `outputs`.
            dropout: Share of that vector that is left out in a training step.
        """
        super().__init__()
        self.numbers, self.outputs = numbers, outputs
        self.mean = nn.Parameter(torch.zeros(outputs))
        if numbers:
            self.slopes = nn.Parameter(torch.zeros(numbers, outputs))
            self.number_factors = nn.Parameter(torch.randn(numbers, factors) * SPREAD)
        if categories:
            self.biases = CategoryTable(categories, outputs, 0.0)
            self.factors = CategoryTable(categories, factors, SPREAD)
        self.categories = len(categories)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.layers = nn.Sequential(*layers) if layers else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs) of x: (batch, features), category codes last."""
        features = []
        out: Tensor = self.mean
        if self.numbers:
            numbers = x[:, : self.numbers]
            features.append(numbers.unsqueeze(-1) * self.number_factors)
            out = out + numbers @ self.slopes
        if self.categories:
            codes = x[:, self.numbers :]
            features.append(self.factors(codes))
            out = out + self.biases(codes).sum(1)
        factors = torch.cat(features, 1)
        pairs = self.drop((factors.sum(1).square() - factors.square().sum(1)) / 2)
        if self.layers is not None:
            out = out + self.layers(pairs)
        else:
            out = out + pairs.unflatten(1, (self.outputs, -1)).sum(-1)
        return out
