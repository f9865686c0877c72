"""Cutting positions out of a network's tensors, in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

if TYPE_CHECKING:
    from modelscale.models.edits.cut import Kept


def slice_tensors(network: nn.Module, kept: Sequence[Kept]) -> None:
    """Leave the kept positions only; a tensor with several names stays one tensor.

    Raises:
        ValueError: If the network has no such tensor, dimension or position.
    """
    tensors = named_tensors(network)
    smaller: dict[int, Tensor] = {}
    for entry in kept:
        runs = runs_of(entry.positions)
        for target in entry.tensors:
            name, _, dim = target.rpartition(":")
            tensor = tensors.get(name)
            if tensor is None:
                raise ValueError(f"no parameter or buffer is called {name!r}")
            values = smaller.get(id(tensor), tensor.detach())
            smaller[id(tensor)] = _taken(values, target, int(dim), runs)
    for name, tensor in tensors.items():
        if id(tensor) not in smaller:
            continue
        values = smaller[id(tensor)]
        if isinstance(tensor, nn.Parameter) and not isinstance(values, nn.Parameter):
            values = nn.Parameter(values, requires_grad=tensor.requires_grad)
            smaller[id(tensor)] = values
        owner, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(owner), leaf, values)


def named_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name; tied ones under each of their names."""
    tensors: dict[str, Tensor] = dict(network.named_parameters(remove_duplicate=False))
    return tensors | dict(network.named_buffers(remove_duplicate=False))


def runs_of(positions: str) -> list[tuple[int, int]]:
    """Return ranges, each to before its second number, of a text such as `0 2-5 7`.

    Raises:
        ValueError: If the text is not of that form.
    """
    runs = []
    for word in positions.split():
        first, _, last = word.partition("-")
        runs.append((int(first), int(last or first) + 1))
    return runs


def positions_of(kept: Sequence[bool]) -> str:
    """Return the text that says which positions are left."""
    words, first = [], None
    for place, stays in enumerate([*kept, False]):
        if stays and first is None:
            first = place
        elif not stays and first is not None:
            words.append(str(first) if place - 1 == first else f"{first}-{place - 1}")
            first = None
    return " ".join(words)


def _taken(values: Tensor, target: str, dim: int, runs: list[tuple[int, int]]) -> Tensor:
    if not 0 <= dim < values.dim():
        raise ValueError(f"{target}: no such dimension")
    size, end = values.shape[dim], 0
    for start, stop in runs:
        if not end <= start < stop <= size:
            raise ValueError(f"{target} has {size} positions, no {start}-{stop - 1}")
        end = stop
    if end == 0:
        raise ValueError(f"{target}: nothing is kept")
    places = torch.cat([torch.arange(start, stop) for start, stop in runs])
    return values.index_select(dim, places.to(values.device))


Sizes = Mapping[str, int | tuple[int, ...]]


def assign(network: nn.Module, settings: Sizes) -> None:
    """Set sizes that modules keep beside their weights, and those that weights tell.

    Args:
        network: With its tensors cut.
        settings: By the module's path and the attribute's name.

    Raises:
        ValueError: If a module has no such attribute that holds the same sort of value.
    """
    modules = dict(network.named_modules())
    for name, value in settings.items():
        path, _, attribute = name.rpartition(".")
        module = modules.get(path)
        held = None if module is None else vars(module).get(attribute)
        if module is None or not is_size(held) or type(held) is not type(value):
            raise ValueError(f"no size is called {name!r}")
        setattr(module, attribute, value)
    for module in modules.values():
        held_by_module = vars(module)
        for attribute, size in sizes_of_layer(module).items():
            if is_size(held_by_module.get(attribute)):
                setattr(module, attribute, size)


def held_values(network: nn.Module, settings: Sizes) -> dict[str, int | tuple[int, ...]]:
    """Return what the attributes of some settings hold now."""
    found = {}
    for name in settings:
        path, _, attribute = name.rpartition(".")
        found[name] = vars(network.get_submodule(path))[attribute]
    return found


def is_layer(module: nn.Module) -> bool:
    """Return whether a module is a layer of torch whose sizes `sizes_of_layer` knows."""
    return isinstance(module, LAYERS)


LAYERS = (
    nn.Linear,
    nn.Embedding,
    nn.Bilinear,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.PReLU,
    nn.RNNBase,
    nn.RNNCellBase,
    _NormBase,
    _ConvNd,
)


def sizes_of_layer(module: nn.Module) -> dict[str, int | tuple[int, ...]]:
    """Return the sizes that a layer of torch has by its weights, none for other modules."""
    weight = getattr(module, "weight", None)
    shape = tuple(weight.shape) if isinstance(weight, Tensor) else ()
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        if getattr(module, "proj_size", 0):
            return {}  # such layers are left whole
        suffix = "_l0" if isinstance(module, nn.RNNBase) else ""
        of_input, of_state = (getattr(module, f"weight_{w}{suffix}") for w in ("ih", "hh"))
        return {"input_size": of_input.shape[1], "hidden_size": of_state.shape[1]}
    if not shape or not is_layer(module):
        return {}
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        return {"normalized_shape": shape}
    return dict(zip(_names_of_sizes(module), _channels(module, shape), strict=False))


def _names_of_sizes(module: nn.Module) -> tuple[str, ...]:
    """Return what a layer calls the dimensions of its weight."""
    if isinstance(module, _ConvNd):
        names = ("out_channels", "in_channels")
        return names[::-1] if isinstance(module, _ConvTransposeNd) else names
    for kind, names_of_kind in NAMES.items():
        if isinstance(module, kind):
            return names_of_kind
    return ("num_features",)


NAMES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Embedding: ("num_embeddings", "embedding_dim"),
    nn.Linear: ("out_features", "in_features"),
    nn.Bilinear: ("out_features", "in1_features", "in2_features"),
    nn.GroupNorm: ("num_channels",),
    nn.PReLU: ("num_parameters",),
}


def _channels(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the dimensions of a weight, each group of a convolution having its own."""
    if not isinstance(module, _ConvNd):
        return shape
    return (shape[0], shape[1] * module.groups)


def is_size(value: object) -> bool:
    """Return whether a value is a whole number or some of them."""
    if isinstance(value, tuple):
        return bool(value) and all(type(item) is int for item in value)
    return type(value) is int
