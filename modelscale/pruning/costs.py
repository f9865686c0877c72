"""What a cut of so many units would leave, without cutting: parameters and MACs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from modelscale.pruning.structure import Structure


@dataclass(frozen=True)
class Axis:
    """One dimension of a parameter.

    Attributes:
        fixed: Positions that always stay.
        per_unit: Positions of each unit of a group, by the group's name.
    """

    fixed: int
    per_unit: dict[str, int]

    def size(self, counts: Mapping[str, int]) -> int:
        """Return the positions that are left with so many units of each group."""
        return self.fixed + sum(n * counts[group] for group, n in self.per_unit.items())


@dataclass(frozen=True)
class Operation:
    """Multiply-accumulates of one module that scale with its weights or with some units.

    Attributes:
        macs: Before.
        weights: Its own kernels and matrices.
        group: Whose units it works on where it has no weights, such as attention.
    """

    macs: int
    weights: tuple[str, ...]
    group: str | None


@dataclass(frozen=True)
class Costs:
    """The costs of a network as a function of how many units of each group are left.

    Units of a group are alike, so that only their number matters. MACs are exact where a
    module's work is in proportion to its weights; a cut network can be counted to be sure.

    Attributes:
        whole: Units of each group before.
    """

    whole: dict[str, int]
    axes: dict[str, tuple[Axis, ...]]
    operations: tuple[Operation, ...]

    def parameters(self, counts: Mapping[str, int]) -> int:
        """Return the number of parameters that is left."""
        return sum(self._numel(name, counts) for name in self.axes)

    def macs(self, counts: Mapping[str, int]) -> float:
        """Return the multiply-accumulates of an example that are left."""
        return sum(
            self._share(operation, counts) * operation.macs for operation in self.operations
        )

    def _numel(self, name: str, counts: Mapping[str, int]) -> int:
        return prod(axis.size(counts) for axis in self.axes[name])

    def _share(self, operation: Operation, counts: Mapping[str, int]) -> float:
        if operation.weights:
            before = sum(self._numel(name, self.whole) for name in operation.weights)
            return sum(self._numel(name, counts) for name in operation.weights) / before
        if operation.group is not None:
            return counts[operation.group] / self.whole[operation.group]
        return 1.0


def costs_of(network: nn.Module, structure: Structure, example: tuple[int, ...]) -> Costs:
    """Return the costs of a network.

    Args:
        network: Of the shapes that `structure` was found on.
        structure: Its units.
        example: Shape of one example, without the batch.
    """
    from modelscale.evaluation.macs import layer_costs

    parameters = dict(network.named_parameters())
    dims: dict[str, list[dict[str, int]]] = {
        n: [{} for _ in p.shape] for n, p in parameters.items()
    }
    for group in structure.groups:
        for member in group.members:
            if member.tensor in dims:
                dims[member.tensor][member.dim][group.name] = member.per_unit
    whole = {group.name: group.units for group in structure.groups}
    axes = {
        name: tuple(
            Axis(size - sum(n * whole[g] for g, n in units.items()), units)
            for size, units in zip(parameters[name].shape, dims[name], strict=True)
        )
        for name in parameters
    }
    operations = []
    for layer in layer_costs(network, example):
        if not layer.macs:
            continue
        prefix = f"{layer.name}." if layer.name else ""
        own = tuple(
            name
            for name, p in parameters.items()
            if name.startswith(prefix) and "." not in name[len(prefix) :] and p.dim() >= 2
        )
        inside = [g.name for g in structure.groups if g.kind in {"heads", "head_size"}]
        works_on = next((name for name in inside if name.startswith(prefix)), None)
        operations.append(Operation(layer.macs, own, None if own else works_on))
    return Costs(whole, axes, tuple(operations))
