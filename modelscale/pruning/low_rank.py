"""Which layers are worth factoring, and to what rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Spectrum:
    """A layer that may be factored.

    Attributes:
        layer: Its path.
        rows: Outputs.
        columns: Inputs times the kernel's size.
        energy_R: (R,) cumulative share of the squared singular values, for ranks from 1.
        macs: Of an example, before.
    """

    layer: str
    rows: int
    columns: int
    energy_R: Tensor
    macs: int

    def cost(self, rank: int | None) -> float:
        """Return the share of its weights and its work that a rank leaves; None is whole."""
        if rank is None:
            return 1.0
        return rank * (self.rows + self.columns) / (self.rows * self.columns)

    def rank_for(self, energy: float, align: int) -> int | None:
        """Return the smallest rank that keeps so much energy, None if that is no gain."""
        needed = int((self.energy_R < energy).sum()) + 1
        rank = min(len(self.energy_R), -(-needed // align) * align)
        return rank if self.cost(rank) < 1 else None


def spectra(network: nn.Module, example: tuple[int, ...]) -> list[Spectrum]:
    """Return the layers of a network that can be factored, in its order."""
    import torch
    from torch import nn

    from modelscale.evaluation.macs import layer_costs
    from modelscale.models.modules.replacing import matrix_of

    macs = {layer.name: layer.macs for layer in layer_costs(network, example)}
    found = []
    for path, layer in network.named_modules():
        dense = isinstance(layer, nn.Conv2d) and layer.groups == 1
        if not path or not (isinstance(layer, nn.Linear) or dense) or not macs.get(path):
            continue
        matrix = matrix_of(layer)
        squares = torch.linalg.svdvals(matrix).square()
        energy = squares.cumsum(0) / squares.sum().clamp_min(1e-30)
        rows, columns = matrix.shape
        found.append(Spectrum(path, rows, columns, energy, macs[path]))
    return found


def ranks_for_energy(layers: list[Spectrum], energy: float, align: int) -> dict[str, int]:
    """Return the rank of each layer that gets cheaper and keeps a share of its energy."""
    ranks = {layer.layer: layer.rank_for(energy, align) for layer in layers}
    return {name: rank for name, rank in ranks.items() if rank is not None}


def ranks_that_fit(
    layers: list[Spectrum], align: int, fits: Callable[[Mapping[str, int]], bool]
) -> dict[str, int] | None:
    """Return ranks of the largest common energy at which the network is small enough.

    Args:
        layers: Those that may be factored.
        align: Ranks are multiples of this.
        fits: Whether ranks by layer make it small enough.

    Returns:
        None if not even the smallest ranks do.
    """
    low, high = 0.0, 1.0  # fits at low, not at high
    found = ranks_for_energy(layers, low, align)
    if not fits(found):
        return None
    for _ in range(20):
        energy = (low + high) / 2
        ranks = ranks_for_energy(layers, energy, align)
        if fits(ranks):
            low, found = energy, ranks
        else:
            high = energy
    return found
