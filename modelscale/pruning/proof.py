"""Trying a structure out: units without outgoing weights must be removable without a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from modelscale.pruning.surgery import CannotCut, alike, cut, fine_outputs, roughen

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelscale.pruning.graph.units import Group
    from modelscale.pruning.structure import Structure

# They multiply two activations: with both sides zero, the units add nothing.
PRODUCTS = {"scaled_dot_product_attention", "matmul", "bmm", "baddbmm", "einsum"}


def proved(network: nn.Module, structure: Structure) -> Structure:
    """Return a structure without the groups that a trial cut shows to be wrong.

    Every other unit of all groups is cut at once from a copy whose outgoing weights of these
    units are zero, and the outputs are compared; where they differ, each group is tried alone.
    Groups over which statistics are taken are tried to run, as their outputs must change.
    """
    from modelscale.pruning.graph.units import Declined

    if _holds(network, structure, structure.groups):
        return structure
    sound = [g for g in structure.groups if _holds(network, structure, (g,))]
    right = {group.name for group in sound}
    wrong = [group for group in structure.groups if group.name not in right]
    while sound and not _holds(network, structure, tuple(sound)):
        wrong.append(sound.pop())  # right alone, wrong together
    declined = tuple(Declined("a trial cut changed the outputs", g.layers) for g in wrong)
    return replace(structure, groups=tuple(sound), declined=structure.declined + declined)


def without_effect(network: nn.Module, group: Group, units: Sequence[int]) -> bool:
    """Set the weights that read some units to zero, in place.

    Where an attention's product reads them too, everything that makes them as well.

    Returns:
        Whether the units can be removed now without changing the outputs. Not if statistics
        are taken over them.
    """
    import numpy as np
    import torch

    from modelscale.models.modules.slicing import named_tensors

    tensors = named_tensors(network)
    members = group.members if group.mixed_by else group.readers
    with torch.no_grad():
        for member in members:
            positions = np.flatnonzero(np.isin(member.owner, units))
            values = tensors[member.tensor]
            values.index_fill_(member.dim, torch.from_numpy(positions).to(values.device), 0)
    return set(group.mixed_by) <= PRODUCTS


def _holds(network: nn.Module, structure: Structure, groups: tuple[Group, ...]) -> bool:
    from modelscale.models.modules.exported import twin_of

    every_other = {group.name: range(0, group.units, 2) for group in groups}
    twin = twin_of(network)
    roughen(twin)
    exact = {
        group.name: every_other[group.name]
        for group in groups
        if without_effect(twin, group, range(1, group.units, 2))
    }
    try:
        smaller = cut(twin, structure, exact).network
        if len(exact) < len(groups):
            cut(twin, structure, every_other)
    except CannotCut:
        return False
    return all(
        alike(*(fine_outputs(n, inputs) for n in (twin, smaller)))
        for inputs in _inputs(structure)
    )


def _inputs(structure: Structure) -> list[tuple[Tensor, ...]]:
    """Return what both are compared on: where values may choose the way, several."""
    if structure.traced is not None:
        return [structure.examples]
    return [
        tuple(x * factor if x.is_floating_point() else x for x in structure.examples)
        for factor in (1, -1, 10, 0)
    ]
