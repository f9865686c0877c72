"""Masks of weights, as parametrizations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Mask(nn.Module):
    """Multiplies a weight by zeros and ones, which are a buffer."""

    mask: Tensor

    def __init__(self, shape: torch.Size) -> None:
        """Make a mask of ones."""
        super().__init__()
        self.register_buffer("mask", torch.ones(shape, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with zeros where the mask has them."""
        return weight * self.mask


def mask_tensor(network: nn.Module, name: str) -> None:
    """Put a mask of ones on a parameter, in place."""
    path, _, leaf = name.rpartition(".")
    layer = network.get_submodule(path)
    shape = getattr(layer, leaf).shape
    parametrize.register_parametrization(layer, leaf, Mask(shape), unsafe=True)


def original_of(name: str) -> str:
    """Return the name under which a masked parameter is trained."""
    path, _, leaf = name.rpartition(".")
    return f"{path}.parametrizations.{leaf}.original".lstrip(".")


def mask_of(name: str) -> str:
    """Return the name of a masked parameter's buffer."""
    path, _, leaf = name.rpartition(".")
    return f"{path}.parametrizations.{leaf}.0.mask".lstrip(".")
