"""Where each parameter lies in a replica's flat vector."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """The order and shapes of a network's parameters, P numbers in all.

    Attributes:
        names: Parameter names, in the network's order.
        shapes: Their shapes.
        starts: Index of each parameter's first number.
        numel: P.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    starts: tuple[int, ...]
    numel: int

    @staticmethod
    def of(network: nn.Module) -> Layout:
        """Return the layout of a network's trainable parameters."""
        named = [(n, p.shape) for n, p in network.named_parameters() if p.requires_grad]
        ends = list(accumulate((shape.numel() for _, shape in named), initial=0))
        names, shapes = zip(*named, strict=True) if named else ((), ())
        return Layout(tuple(names), tuple(shapes), tuple(ends[:-1]), ends[-1])

    def views(self, theta_KP: Tensor) -> list[Tensor]:
        """Return each parameter as a view (K, *shape) of the stack of flat vectors."""
        return [
            theta_KP[:, start : start + shape.numel()].unflatten(1, shape)
            if shape
            else theta_KP[:, start]
            for start, shape in zip(self.starts, self.shapes, strict=True)
        ]

    def flatten(self, network: nn.Module) -> Tensor:
        """Return a network's parameters as one vector (P,)."""
        parameters = dict(network.named_parameters())
        return torch.cat([parameters[name].detach().reshape(-1) for name in self.names])

    def tensors(self, theta_P: Tensor) -> dict[str, Tensor]:
        """Return one replica's parameters by name."""
        return {
            name: view[0]
            for name, view in zip(self.names, self.views(theta_P[None]), strict=True)
        }

    def penalised(self) -> Tensor:
        """Return (P,) float32: 1 for numbers of weights, 0 for biases, norms and rates.

        A weight is a parameter with two or more dimensions.
        """
        mask_P = torch.zeros(self.numel)
        for start, shape in zip(self.starts, self.shapes, strict=True):
            if len(shape) >= 2:
                mask_P[start : start + shape.numel()] = 1.0
        return mask_P
