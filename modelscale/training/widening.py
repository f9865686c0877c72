"""What a replica's base width means for it: first weights, and each layer's learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from modelscale.models.modules.widths import Factors, width_factors

if TYPE_CHECKING:
    from modelscale.training.layout import Layout
    from modelscale.training.replica import Replica


class Piece(NamedTuple):
    """Numbers of a replica's vector that learn at one rate.

    Attributes:
        start: The first one.
        stop: After the last one.
        rate: What the replica's learning rate is multiplied with.
    """

    start: int
    stop: int
    rate: float


def factors_of(replica: Replica, network: nn.Module) -> dict[str, Factors]:
    """Return the factors of a replica's parameters; none without a base width.

    Args:
        replica: What is to be trained.
        network: Its network as its model builds it.

    Raises:
        ValueError: If the network holds a part for which there is no rule.
    """
    if replica.narrow is None:
        return {}
    with torch.random.fork_rng(devices=[]):
        outputs = replica.loss.outputs(replica.data.targets)
        narrow = replica.narrow.build(replica.data.inputs, outputs)
    return width_factors(network, narrow)


def pieces_of(replica: Replica, network: nn.Module, layout: Layout) -> list[Piece]:
    """Return the pieces of a replica's vector, from its first number to its last.

    Empty where all learn at the replica's own rate: at the base width, without one, and in a
    network whose weights were not drawn as it is.
    """
    if replica.narrow is None or replica.edits or replica.start is not None:
        return []
    pieces = _pieces(factors_of(replica, network), layout)
    return [] if all(piece.rate == 1 for piece in pieces) else pieces


def share_of(pieces: Sequence[Piece], device: torch.device) -> Tensor:
    """Return (1, P) float32: what the rate of each number is multiplied with."""
    counts = torch.tensor([piece.stop - piece.start for piece in pieces])
    rates = torch.tensor([piece.rate for piece in pieces])
    return rates.repeat_interleave(counts)[None].to(device)


def _pieces(factors: Mapping[str, Factors], layout: Layout) -> list[Piece]:
    pieces: list[Piece] = []
    for name, start, shape in zip(layout.names, layout.starts, layout.shapes, strict=True):
        rates = factors[name].rate.expand(shape).reshape(-1)
        values, counts = rates.unique_consecutive(return_counts=True)
        stop = start
        for rate, count in zip(values.tolist(), counts.tolist(), strict=True):
            begin, stop = stop, stop + count
            if pieces and pieces[-1].rate == rate:
                begin = pieces.pop().start
            pieces.append(Piece(begin, stop, rate))
    return pieces
