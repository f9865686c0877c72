"""The layers of a network in the order of its parameters, and which of them is the output."""

from __future__ import annotations

from collections.abc import Callable, Collection
from fnmatch import fnmatchcase

import torch
from torch import nn


def head_of(build: Callable[[int], nn.Module], outputs: int) -> frozenset[str]:
    """Return the parameters that depend on the number of outputs.

    Args:
        build: Makes the network for a number of outputs.
        outputs: Those that it has.
    """
    with torch.random.fork_rng(devices=[]):
        here, wider = (
            {name: p.shape for name, p in build(count).named_parameters()}
            for count in (outputs, outputs + 1)
        )
    return frozenset(name for name in here if here[name] != wider.get(name))


def layers_of(network: nn.Module, head: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """Return the names of the parameters of each layer below the output, from the input on.

    A numbered part of the network, such as a block or a convolution, is a layer. What comes
    before the first of them, such as embeddings, is one layer; a norm by itself belongs to the
    layer that it follows.
    """
    layers: list[list[str]] = []
    last = None
    for name, parameter in network.named_parameters():
        if name in head:
            continue
        prefix = _numbered(network, name)
        small = parameter.dim() < 2 and (prefix is None or _is_leaf(network, prefix))
        if layers and (prefix == last or small):
            layers[-1].append(name)
        else:
            layers.append([name])
        if not small or len(layers[-1]) == 1:
            last = prefix
    return tuple(map(tuple, layers))


def matching(names: Collection[str], patterns: Collection[str]) -> frozenset[str]:
    """Return the names that fit a pattern such as `body.*`.

    Raises:
        ValueError: If a pattern fits none.
    """
    found: set[str] = set()
    for pattern in patterns:
        fitting = [name for name in names if fnmatchcase(name, pattern)]
        if not fitting:
            some = ", ".join(list(names)[:4])
            raise ValueError(f"no parameter fits {pattern!r}; they are called {some}, …")
        found.update(fitting)
    return frozenset(found)


def still_parts(network: nn.Module, frozen: Collection[str]) -> list[nn.Module]:
    """Return the parts of a network of which every parameter is frozen, the outermost ones."""
    if not frozen:
        return []
    found: list[nn.Module] = []

    def visit(module: nn.Module, prefix: str) -> None:
        own = [f"{prefix}{name}" for name, _ in module.named_parameters()]
        if own and all(name in frozen for name in own):
            found.append(module)
            return
        for name, child in module.named_children():
            visit(child, f"{prefix}{name}.")

    visit(network, "")
    return found


def _numbered(network: nn.Module, name: str) -> str | None:
    """Return the path to the first numbered part that a parameter lies in, None without one.

    Parts that lie side by side, such as filters of several widths, count as one.
    """
    words = name.split(".")[:-1]
    for place, word in enumerate(words):
        if word.isdigit():
            above = ".".join(words[:place])
            path = ".".join(words[: place + 1])
            beside = isinstance(network.get_submodule(above), nn.ModuleList)
            return above if beside and _is_leaf(network, path) else path
    return None


def _is_leaf(network: nn.Module, path: str) -> bool:
    return next(network.get_submodule(path).children(), None) is None
