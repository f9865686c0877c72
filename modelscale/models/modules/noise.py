"""The noise tape: random numbers that a network reads instead of drawing them.

A replica among K must see the numbers that it would see alone, and no generator can be drawn
from inside `vmap` in a replica's own order. So the numbers are counted once, drawn by the
trainer from each replica's generator, and played to the network as one flat tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod

import torch
from torch import Tensor, nn
from torch.func import functional_call


class NoiseTape:
    """Uniform numbers that are taken one after the other, or only counted.

    Attributes:
        taken: Numbers that were asked for so far.
        shapes: In which shapes.
    """

    def __init__(self, noise: Tensor | None = None) -> None:
        """Play `noise`, (M,) uniform in [0, 1); or count, where there is none."""
        self._noise = noise
        self.taken = 0
        self.shapes: list[tuple[int, ...]] = []

    def take(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return the next numbers of the tape in `shape`; while counting, fresh ones."""
        first, size = self.taken, prod(shape)
        self.taken += size
        self.shapes.append(tuple(shape))
        if self._noise is None:
            return torch.rand(shape, dtype=torch.float32, device=like.device)
        return self._noise.narrow(0, first, size).view(tuple(shape))


_tapes: list[NoiseTape] = []  # the innermost one is last


def uniform(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return float32 uniform numbers in [0, 1), from the tape in use or the global RNG."""
    if _tapes:
        return _tapes[-1].take(shape, like)
    return torch.rand(shape, dtype=torch.float32, device=like.device)


@contextmanager
def playing(noise: Tensor) -> Iterator[NoiseTape]:
    """Let networks within the block read their numbers from `noise`.

    Args:
        noise: (M,) float32 uniform in [0, 1); under `vmap` a batched tensor of that shape.
    """
    yield from _in_use(NoiseTape(noise))


@contextmanager
def recording() -> Iterator[NoiseTape]:
    """Count the numbers that networks within the block take: `tape.taken`."""
    yield from _in_use(NoiseTape())


def _in_use(tape: NoiseTape) -> Iterator[NoiseTape]:
    _tapes.append(tape)
    try:
        yield tape
    finally:
        _tapes.pop()


def count_noise(module: nn.Module, x: Tensor) -> int:
    """Return how many numbers M a forward pass over `x` takes; see `noise_shapes`."""
    return sum(map(prod, noise_shapes(module, x)))


def noise_shapes(module: nn.Module, x: Tensor) -> list[tuple[int, ...]]:
    """Return the shapes in which a forward pass over `x` takes its numbers, one after another.

    The module is left in its present mode, which it is asked in.
    Changes neither the module's buffers nor the state of the global generators.

    Args:
        module: The network of one replica; put it in training mode first.
        x: (batch, …) inputs of the size that will be trained with.
    """
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad(), recording() as tape:
        functional_call(module, buffers, (x,))
    return tape.shapes
