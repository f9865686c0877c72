"""Layers replaced by two cheaper ones that compute nearly the same."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def replace_layer(
    network: nn.Module, path: str, make: Callable[[nn.Module], nn.Module]
) -> None:
    """Put another module in place of a layer.

    Raises:
        ValueError: If there is no such layer, or it is not of a sort that can be replaced.
    """
    above, _, leaf = path.rpartition(".")
    try:
        old = network.get_submodule(path)
    except AttributeError:
        raise ValueError(f"no layer is called {path!r}") from None
    network.get_submodule(above).register_module(leaf, make(old))


def factored(layer: nn.Module, rank: int) -> nn.Module:
    """Return a layer as two with `rank` features between, the best in least squares.

    Raises:
        ValueError: If it is neither linear nor an ungrouped convolution, or has a lower rank.
    """
    weight = matrix_of(layer)
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"a matrix of {tuple(weight.shape)} has no {rank} singular values")
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    root = values[:rank].sqrt()
    inner, outer = root[:, None] * right[:rank], left[:, :rank] * root
    if isinstance(layer, nn.Linear):
        first: nn.Module = nn.Linear(layer.in_features, rank, bias=False)
        second: nn.Module = nn.Linear(rank, layer.out_features, bias=layer.bias is not None)
    else:
        assert isinstance(layer, nn.Conv2d)
        first = _like(layer, layer.in_channels, rank)
        second = nn.Conv2d(rank, layer.out_channels, 1, bias=layer.bias is not None)
    return _pair(first, inner, second, outer, layer)


def matrix_of(layer: nn.Module) -> Tensor:
    """Return (outputs, inputs × kernel) the weights of a layer that can be factored.

    Raises:
        ValueError: If it cannot.
    """
    dense = isinstance(layer, nn.Conv2d) and layer.groups == 1
    if not isinstance(layer, nn.Linear) and not dense:
        raise ValueError(f"a {type(layer).__name__} cannot be factored")
    return layer.get_parameter("weight").detach().flatten(1)


def separated(layer: nn.Module) -> nn.Module:
    """Return a convolution as a depthwise and a pointwise one, the nearest in least squares.

    Raises:
        ValueError: If it is not an ungrouped convolution.
    """
    if not isinstance(layer, nn.Conv2d) or layer.groups != 1:
        raise ValueError(f"a {type(layer).__name__} cannot be separated")
    kernels_IOK = layer.weight.detach().flatten(2).transpose(0, 1)
    left, values, right = torch.linalg.svd(kernels_IOK, full_matrices=False)
    root_I1 = values[:, :1].sqrt()
    filters_IK, factors_IO = root_I1 * right[:, 0], root_I1 * left[:, :, 0]
    channels = layer.in_channels
    depthwise = _like(layer, channels, channels, groups=channels)
    pointwise = nn.Conv2d(channels, layer.out_channels, 1, bias=layer.bias is not None)
    return _pair(depthwise, filters_IK, pointwise, factors_IO.T, layer)


def _like(layer: nn.Conv2d, c_in: int, c_out: int, groups: int = 1) -> nn.Conv2d:
    """Return a convolution of the same kernel and steps, without a bias."""
    return nn.Conv2d(
        c_in,
        c_out,
        layer.kernel_size,  # type: ignore[arg-type]  # typed as of any length
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        groups,
        bias=False,
        padding_mode=layer.padding_mode,
    )


def _pair(
    first: nn.Module, inner: Tensor, second: nn.Module, outer: Tensor, layer: nn.Module
) -> nn.Sequential:
    with torch.no_grad():
        for made, values in ((first, inner), (second, outer)):
            weight = made.get_parameter("weight")
            weight.copy_(values.reshape(weight.shape))
        if layer.bias is not None:
            second.get_parameter("bias").copy_(layer.get_parameter("bias"))
    return nn.Sequential(first, second)
