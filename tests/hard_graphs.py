"""Networks whose graphs are hard to prune: a zoo for tests and `benchmarks/prune_graphs.py`.

Each is small, complete and built anew by every call. `hard_graphs_images.py`,
`hard_graphs_layers.py` and `hard_graphs_sequences.py` hold the networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class HardGraph:
    """A network with what can be removed from it.

    Attributes:
        name: Which difficulty it stands for.
        build: Returns the network.
        inputs: Returns its inputs for a batch size.
        units: All units of all groups that can be cut; 0 for what must be declined.
        declines: Operators or reasons that must be named.
        rewritten: Whether literal sizes in its code make a rewritten graph necessary.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int], tuple[Tensor, ...]]
    units: int
    declines: tuple[str, ...] = ()
    rewritten: bool = False

    def network(self) -> nn.Module:
        """Return the network in float64, in evaluation mode, with statistics as if trained."""
        torch.manual_seed(0)
        network = self.build().double().eval()
        with torch.no_grad():
            for layer in network.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.running_mean.normal_()
                    layer.running_var.uniform_(0.5, 2.0)
                    layer.weight.uniform_(0.5, 2.0)
                    layer.bias.normal_()
        return network

    def examples(self, batch: int = 3) -> tuple[Tensor, ...]:
        """Return inputs in float64 where they are numbers."""
        torch.manual_seed(batch)
        return tuple(x.double() if x.is_floating_point() else x for x in self.inputs(batch))


def images(batch: int) -> tuple[Tensor, ...]:
    """Return three-channel images of 8×8 pixels."""
    return (torch.randn(batch, 3, 8, 8),)


def sequences(batch: int) -> tuple[Tensor, ...]:
    """Return six positions of five features."""
    return (torch.randn(batch, 6, 5),)


def texts(batch: int) -> tuple[Tensor, ...]:
    """Return six symbols of a vocabulary of eleven."""
    return (torch.randint(0, 11, (batch, 6)),)


def zoo() -> list[HardGraph]:
    """Return all networks."""
    from hard_graphs_images import IMAGES
    from hard_graphs_layers import LAYERS
    from hard_graphs_sequences import SEQUENCES

    return [*IMAGES, *LAYERS, *SEQUENCES]
