"""How the layers of a wide network begin and learn, next to those of a narrow one.

Maximal update parametrisation (Yang et al., Tensor Programs V, arXiv:2203.03466, table 3, the
column for Adam): with r the fan-in of a layer over that of its narrow twin,

| | deviation of the first weights | learning rate |
|---|---|---|
| inputs, embeddings, biases, norms | as in the narrow network | 1 |
| matrices between wide layers | r^-1/2 of the narrow one's | 1 / r |
| matrices from wide layers to outputs | 1 / r of the narrow one's | 1 / r |

Two more rules are multipliers there, and are here the same thing as a scale of weights, since
Adam's steps do not depend on the scale of the gradient: attention scores are divided by the
size of a head rather than by its root (the rows of the queries begin and learn smaller), and
outputs that are scored by the table of embeddings are divided by r (the norm before them does).
So the network itself stays what it was, and so do its files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

AS_TORCH_DRAWS = -0.5
"""Power of the fan-in by which the deviation of a layer's first weights goes."""
_VECTORS = (nn.Embedding, nn.LayerNorm, nn.GroupNorm, _NormBase)


@runtime_checkable
class Drawn(Protocol):
    """A module that draws weights below it in its own way, or holds some itself.

    Attributes:
        drawn: By pattern of the names below it, the power of the width by which the deviation
            of the first values goes. Values of its own are vectors, one for each input.
    """

    drawn: ClassVar[Mapping[str, float]]


@runtime_checkable
class ScoredByTable(Protocol):
    """A module whose outputs are products with the table of its embeddings.

    Attributes:
        norm_before: Path to the norm whose output the table scores.
    """

    norm_before: ClassVar[str]


@runtime_checkable
class QueriesFirst(Protocol):
    """Attention with one matrix for queries, keys and values, the queries' rows first.

    Attributes:
        qkv: That layer.
        heads: Attention heads.
        scale: Of the scores.
    """

    qkv: nn.Linear
    heads: int
    scale: float


class Factors(NamedTuple):
    """What a parameter's first values and its learning rate are multiplied with.

    Attributes:
        initial: Broadcasts over the parameter, as does
        rate: that of the learning rate.
    """

    initial: Tensor
    rate: Tensor


def width_factors(network: nn.Module, narrow: nn.Module) -> dict[str, Factors]:
    """Return the factors of each parameter of a network.

    Args:
        network: As its spec builds it.
        narrow: The same with other widths, at which all factors are 1.

    Raises:
        ValueError: If it holds a part for which there is no rule.
        AttributeError: If the narrow one has other parts.
    """
    powers = dict(_powers(network))
    found: dict[str, Factors] = {}
    for path, module in network.named_modules():
        twin = narrow.get_submodule(path)
        own, other = (dict(m.named_parameters(recurse=False)) for m in (module, twin))
        alike = all(parameter.shape == other[name].shape for name, parameter in own.items())
        for name in own:
            full = f"{path}.{name}".removeprefix(".")
            found[full] = _factors(1, 1) if alike else _own(module, twin, name, full, powers)
    for path, module in network.named_modules():
        twin = narrow.get_submodule(path)
        if isinstance(module, QueriesFirst) and isinstance(twin, QueriesFirst):
            name = f"{path}.qkv.weight".removeprefix(".")
            found[name] = _queries(found[name], module, module.scale / twin.scale)
        if isinstance(module, ScoredByTable):
            norm = f"{path}.{module.norm_before}".removeprefix(".")
            width, base = (_width(n.get_submodule(norm)) for n in (network, narrow))
            for name, _ in network.get_submodule(norm).named_parameters():
                found[f"{norm}.{name}"] = _factors(base / width, base / width)
    return found


@torch.no_grad()
def rescale(network: nn.Module, factors: Mapping[str, Factors]) -> None:
    """Multiply freshly drawn parameters with their factors."""
    for name, parameter in network.named_parameters():
        if name in factors:
            parameter.mul_(factors[name].initial)


def _own(
    module: nn.Module, twin: nn.Module, name: str, full: str, powers: Mapping[str, float]
) -> Factors:
    """Return the factors of a parameter of a part that is wider or narrower than its twin."""
    parameter, other = module.get_parameter(name), twin.get_parameter(name)
    if isinstance(module, _VECTORS):
        power = powers.get(full, 0.0)
        return _factors((parameter.shape[-1] / other.shape[-1]) ** -power, 1)
    plain = isinstance(module, (nn.Linear, _ConvNd)) and not isinstance(
        module, _ConvTransposeNd
    )
    if plain:
        weight, narrow = module.get_parameter("weight"), twin.get_parameter("weight")
        ratio = weight.shape[1] / narrow.shape[1]
        power = powers.get(full, AS_TORCH_DRAWS)
        if name == "bias":
            return _factors(ratio**-power, 1)
        wanted = -0.5 if weight.shape[0] != narrow.shape[0] else -1.0
        return _factors(ratio ** (wanted - power), 1 / ratio)
    if full in powers:
        return _factors((parameter.shape[-1] / other.shape[-1]) ** -powers[full], 1)
    raise ValueError(f"no rule says how {full} of a {type(module).__name__} grows")


def _queries(factors: Factors, module: QueriesFirst, share: float) -> Factors:
    """Return factors by row, those of the queries times a share."""
    rows = module.qkv.weight.shape[0]
    by_row = torch.ones(rows, 1)
    by_row[: rows // 3] = share
    return Factors(factors.initial * by_row, factors.rate * by_row)


def _powers(network: nn.Module) -> Iterator[tuple[str, float]]:
    """Yield what modules say of parameters that are not drawn as torch draws them."""
    for path, module in network.named_modules():
        drawn = module.drawn if isinstance(module, Drawn) else {}
        for name, _ in module.named_parameters():
            for pattern, power in drawn.items():
                if fnmatchcase(name, pattern):
                    yield f"{path}.{name}".removeprefix("."), power


def _width(norm: nn.Module) -> int:
    return norm.get_parameter("weight").shape[0]


def _factors(initial: float, rate: float) -> Factors:
    return Factors(torch.tensor(float(initial)), torch.tensor(float(rate)))
