"""Vectors of numbers: every number of a table has weights of its own.

(Gorishniy et al., arXiv:2203.05556.)
"""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from modelscale.models.numeric.base import NumericSpec
    from modelscale.tensors import Inputs


class NumericInputs(nn.Module):
    """The first columns as vectors, the others as they are."""

    def __init__(self, numbers: int, each: nn.Module) -> None:
        """Make it for `numbers` columns, which `each` maps to (batch, numbers, width)."""
        super().__init__()
        self.numbers, self.each = numbers, each

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, numbers · width + others) of x: (batch, numbers + others)."""
        vectors = self.each(x[:, : self.numbers]).flatten(1)
        return torch.cat([vectors, x[:, self.numbers :]], 1)


def numeric_inputs(spec: NumericSpec, inputs: Inputs) -> tuple[NumericInputs, int]:
    """Return the layer that embeds a table's numbers, and how many values it gives."""
    numbers = len(inputs.quantiles)
    layer = NumericInputs(numbers, spec.build(inputs.quantiles))
    return layer, numbers * spec.width() + inputs.shape[0] - numbers


class Bins(nn.Module):
    """How far each number has come through each of its bins."""

    low_DT: Tensor
    width_DT: Tensor
    least_T: Tensor
    most_T: Tensor

    def __init__(self, quantiles: tuple[tuple[float, ...], ...]) -> None:
        """Make it of ascending edges, one more than bins, equally many for each number."""
        super().__init__()
        edge_DT = torch.tensor(quantiles, dtype=torch.float32)
        width_DT = edge_DT.diff(dim=1)
        # Where many rows share a value, edges coincide, and the bin becomes a step.
        self.register_buffer("low_DT", edge_DT[:, :-1].contiguous())
        self.register_buffer("width_DT", width_DT)
        bins = width_DT.shape[1]
        least_T, most_T = torch.zeros(bins), torch.ones(bins)
        least_T[0], most_T[-1] = -torch.inf, torch.inf
        self.register_buffer("least_T", least_T)
        self.register_buffer("most_T", most_T)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, D, bins) of x: (batch, D)."""
        beyond = x.unsqueeze(-1) - self.low_DT
        flat_DT = self.width_DT <= 0
        share = beyond / torch.where(flat_DT, 1.0, self.width_DT)
        share = torch.minimum(torch.maximum(share, self.least_T), self.most_T)
        return torch.where(flat_DT, (beyond > 0).to(x.dtype), share)


class Waves(nn.Module):
    """Sines and cosines of each number at frequencies that are learnt."""

    def __init__(self, numbers: int, frequencies: int, sigma: float) -> None:
        """Draw `frequencies` of each of `numbers` from a normal distribution of `sigma`."""
        super().__init__()
        self.frequency = nn.Parameter(torch.randn(numbers, frequencies) * sigma)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, D, 2 · frequencies) of x: (batch, D)."""
        angle = 2 * pi * self.frequency * x.unsqueeze(-1)
        return torch.cat([angle.sin(), angle.cos()], -1)


class Spread(nn.Module):
    """Each number as a vector of one value."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, D, 1) of x: (batch, D)."""
        return x.unsqueeze(-1)


class EachLinear(nn.Module):
    """A linear layer of its own for each number's vector."""

    def __init__(self, numbers: int, inputs: int, outputs: int) -> None:
        """Make `numbers` layers from `inputs` to `outputs` values."""
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(
            torch.empty(numbers, inputs, outputs).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.empty(numbers, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, D, outputs) of x: (batch, D, inputs)."""
        out: Tensor = (x.unsqueeze(-2) @ self.weight).squeeze(-2) + self.bias
        return out
