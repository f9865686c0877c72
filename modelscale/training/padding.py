"""Networks of several widths in one stack: the narrower ones are filled up with zeros.

A hidden unit whose weights and bias are zero answers zero, since activations here map 0 to 0.
It hands nothing on, so the weights that read it get a gradient of zero, and as these are zero
themselves, so do its own. Every optimizer here leaves such numbers at zero: the zeros are the
mask, and a training step has nothing to do with them. Only the noise of dropout has to be dealt
out as the narrow network would read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor, nn

from modelscale.models.base import ModelSpec
from modelscale.models.modules.noise import noise_shapes
from modelscale.training.layout import Layout

Shape = Sequence[int]


def widest(models: Sequence[ModelSpec]) -> ModelSpec:
    """Return the narrowest model that each of these fits into; they differ in widths alone."""
    sizes = [model.layer_widths() for model in models]
    return models[0].widened(tuple(map(max, zip(*sizes, strict=True))))


@dataclass
class Padding:
    """Which numbers of a stack are each replica's own.

    Attributes:
        places: Of each replica, where its parameters lie in the wide vector, int64.
        shapes: Of each replica, its buffers' own shapes by name.
        networks: Of each replica, one of its own width; those of one width share it.
    """

    places: list[Tensor]
    shapes: list[dict[str, torch.Size]]
    networks: list[nn.Module]
    _dealt: dict[int, Tensor] = field(default_factory=dict)

    @staticmethod
    def of(networks: Sequence[nn.Module], widths: Sequence[Shape], wide: Layout) -> Padding:
        """Find the places of networks, each with its own widths, in a wide one's layout."""
        found: dict[tuple[int, ...], tuple[Tensor, nn.Module]] = {}
        for network, own in zip(networks, map(tuple, widths), strict=True):
            if own not in found:
                found[own] = _places(Layout.of(network), wide), network.train()
        shapes = [{n: b.shape for n, b in net.named_buffers()} for net in networks]
        places, kept = zip(*(found[tuple(own)] for own in widths), strict=True)
        return Padding(list(places), shapes, list(kept))

    def to(self, device: torch.device) -> Padding:
        """Move what a training step needs to where the replicas live; return it."""
        for network in self.networks:
            network.to(device)
        self.places = [place_P.to(device) for place_P in self.places]
        return self

    def take(self, chosen: Sequence[int]) -> Padding:
        """Return what belongs to the replicas at these positions."""
        return Padding(
            [self.places[k] for k in chosen],
            [self.shapes[k] for k in chosen],
            [self.networks[k] for k in chosen],
        )

    def wide(self, k: int, theta_P: Tensor, numel: int) -> Tensor:
        """Return replica k's own parameters (P,) as a wide vector with zeros elsewhere."""
        return theta_P.new_zeros(numel).index_copy_(0, self.places[k], theta_P)

    def own(self, k: int, theta_P: Tensor) -> Tensor:
        """Return the numbers of a wide vector (P,) that are replica k's own."""
        return theta_P[self.places[k]]

    def own_buffer(self, k: int, name: str, buffer: Tensor) -> Tensor:
        """Return the part of a wide buffer that is replica k's own."""
        return buffer[corner(self.shapes[k][name])]

    def noise_counts(self, x_B: Tensor) -> list[int]:
        """Return how many numbers each replica's own network takes for inputs like these."""
        counts = {id(net): sum(map(prod, noise_shapes(net, x_B))) for net in self.networks}
        return [counts[id(net)] for net in self.networks]

    def deal(self, noise_KM: Tensor, network: nn.Module, x_B: Tensor) -> Tensor:
        """Return each replica's own noise (K, M) in the order in which the wide network reads.

        What a unit of zeros reads makes no difference.

        Args:
            noise_KM: As many numbers as the widest replica takes.
            network: The wide one, in training mode.
            x_B: Inputs of one replica.
        """
        size = len(x_B)
        if size not in self._dealt:
            wide = noise_shapes(network, x_B)
            rows = {id(net): _dealt_to(wide, noise_shapes(net, x_B)) for net in self.networks}
            index_KM = torch.stack([rows[id(net)] for net in self.networks])
            self._dealt[size] = index_KM.to(noise_KM.device)
        return noise_KM.gather(1, self._dealt[size])


def corner(shape: Shape) -> tuple[slice, ...]:
    """Return the slices of a wide tensor that a narrow one of this shape fills."""
    return tuple(slice(size) for size in shape)


def _places(narrow: Layout, wide: Layout) -> Tensor:
    assert narrow.names == wide.names
    pieces = [
        torch.arange(start, start + outer.numel()).view(outer)[corner(inner)].reshape(-1)
        for start, outer, inner in zip(wide.starts, wide.shapes, narrow.shapes, strict=True)
    ]
    return torch.cat(pieces)


def _dealt_to(wide: Sequence[Shape], narrow: Sequence[Shape]) -> Tensor:
    """Return (M,) int64, which number of the narrow network each of the wide one is."""
    pieces, start = [], 0
    for outer, inner in zip(wide, narrow, strict=True):
        piece = torch.zeros(tuple(outer), dtype=torch.int64)
        piece[corner(inner)] = torch.arange(start, start + prod(inner)).view(tuple(inner))
        pieces.append(piece.reshape(-1))
        start += prod(inner)
    return torch.cat(pieces)
