"""Choices by name: activations, norms and pooling."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from modelscale.models.modules.batch_norm import BatchNorm1d, BatchNorm2d

ActivationName = Literal["relu", "gelu", "silu", "tanh"]
NormName = Literal["none", "layer", "batch"]


def activation(name: ActivationName) -> nn.Module:
    """Return the activation of that name."""
    kinds: dict[ActivationName, type[nn.Module]] = {
        "relu": nn.ReLU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "tanh": nn.Tanh,
    }
    return kinds[name]()


def norm_of_units(name: NormName, units: int) -> list[nn.Module]:
    """Return the norm of a layer's output (batch, units); nothing for `none`."""
    if name == "none":
        return []
    return [nn.LayerNorm(units) if name == "layer" else BatchNorm1d(units)]


def norm_of_channels(name: NormName, channels: int) -> list[nn.Module]:
    """Return the norm of a map (batch, channels, height, width); nothing for `none`."""
    if name == "none":
        return []
    # One group over all channels is layer normalisation of an image.
    return [nn.GroupNorm(1, channels) if name == "layer" else BatchNorm2d(channels)]


class GlobalAveragePool(nn.Module):
    """The mean of each channel over the whole map."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels) of x: (batch, channels, height, width)."""
        return x.mean((-2, -1))
