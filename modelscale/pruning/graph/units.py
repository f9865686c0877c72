"""Units: what can be removed, and which positions of which weights go with each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from modelscale.pruning.graph.flow import Flow, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelscale.pruning.graph.atoms import Axes, Ids

Side = Literal["makes", "reads", "both"]


@dataclass(frozen=True)
class Member:
    """One dimension of a weight that units have positions in.

    Attributes:
        tensor: Name of the parameter or buffer.
        dim: The dimension.
        side: Whether these positions make the units' values (a filter, its bias, the scale of
            a norm), read them (the outgoing weights), or both (tied weights).
        owner: (size,) int64 number of the unit in its group that each position belongs to,
            −1 for positions of other groups and those that stay.
        per_unit: Positions of each unit; the same for all of a group.
    """

    tensor: str
    dim: int
    side: Side
    owner: NDArray[np.int64]
    per_unit: int


@dataclass(frozen=True)
class Group:
    """Units that are alike, such as the width of a residual stage or the heads of an attention.

    Any of them may go and at least one must stay. Each unit has as many positions as any other
    in every member.

    Attributes:
        name: Path of the first layer that makes the units; with `#2`, … where a layer makes
            the units of several groups.
        kind: What one unit is.
        units: Number of units U.
        members: Every weight that the units have a part of.
        mixed_by: Operators that read the units other than by weights, such as a layer norm
            over them. Empty means that units whose outgoing weights (side `reads`) are zero
            can be removed without changing the network's outputs at all.
    """

    name: str
    kind: Kind
    units: int
    members: tuple[Member, ...]
    mixed_by: tuple[str, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Paths of the modules that make or read the units, in the network's order."""
        return tuple(dict.fromkeys(layer_of(member.tensor) for member in self.members))

    @property
    def makers(self) -> tuple[Member, ...]:
        """Members that make the units' values."""
        return tuple(member for member in self.members if member.side != "reads")

    @property
    def readers(self) -> tuple[Member, ...]:
        """Members that are outgoing weights."""
        return tuple(member for member in self.members if member.side != "makes")


@dataclass(frozen=True)
class Declined:
    """Layers that are left whole as an operator is not understood.

    Attributes:
        reason: The operator, or why nothing could be followed.
        layers: Paths of the modules that it stops from being cut.
    """

    reason: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """The groups of a network with what belongs to each unit inside the analysis.

    Attributes:
        groups: In the network's order.
        declined: What is left whole, and why.
        roots: For each group, the atom (U,) that each unit is.
    """

    groups: tuple[Group, ...]
    declined: tuple[Declined, ...]
    roots: dict[str, NDArray[np.int64]] = field(repr=False)


def layer_of(tensor: str) -> str:
    """Return the path of the layer that a parameter or buffer belongs to."""
    layer, parametrized, _ = tensor.partition(".parametrizations.")
    return layer if parametrized else tensor.rpartition(".")[0]


def find(flow: Flow, weights: dict[str, Axes]) -> Found:
    """Return the units of a graph that has been followed.

    Args:
        flow: With its notes.
        weights: The axes of each weight, by name.
    """
    held = _held(flow, weights)
    owned: dict[int, list[tuple[str, int, int]]] = {}
    for name, axes in weights.items():
        for dim, axis in enumerate(axes):
            if axis is None:
                continue
            roots, counts = np.unique(flow.atoms.roots(axis[:, 0]), return_counts=True)
            free = ~held[roots]
            for root, count in zip(roots[free].tolist(), counts[free].tolist(), strict=True):
                owned.setdefault(root, []).append((name, dim, count))
    alike: dict[tuple[tuple[str, int, int], ...], list[int]] = {}
    for root, places in owned.items():
        alike.setdefault(tuple(places), []).append(root)
    notes = _Notes(flow)
    groups: list[Group] = []
    roots_of: dict[str, NDArray[np.int64]] = {}
    for signature, members in alike.items():
        roots = _in_order(flow, weights, signature[0], members)
        group = _group(flow, weights, signature, roots, notes)
        taken = sum(other.name.partition("#")[0] == group.name for other in groups)
        if taken:
            group = Group(
                f"{group.name}#{taken + 1}",
                group.kind,
                group.units,
                group.members,
                group.mixed_by,
            )
        groups.append(group)
        roots_of[group.name] = roots
    return Found(tuple(groups), _declined(flow, weights), roots_of)


def _held(flow: Flow, weights: dict[str, Axes]) -> NDArray[np.bool_]:
    """Return (atoms,) whether each representative must stay."""
    held = np.zeros(len(flow.atoms), dtype=bool)
    for ids, _ in flow.frozen:
        held[flow.atoms.roots(ids)] = True
    every = [*weights.values(), *flow.axes.values()]
    for axes in every:
        for axis in axes:
            if axis is None:
                continue
            roots = flow.atoms.roots(axis)
            for column in range(roots.shape[1]):
                if (roots[:, column] == roots[0, column]).all():
                    held[roots[0, column]] = True  # nothing would be left
    return held


def _in_order(
    flow: Flow, weights: dict[str, Axes], place: tuple[str, int, int], roots: list[int]
) -> NDArray[np.int64]:
    """Return representatives in the order of their first positions in a weight."""
    axis = weights[place[0]][place[1]]
    assert axis is not None
    found, first = np.unique(flow.atoms.roots(axis[:, 0]), return_index=True)
    chosen = np.asarray(sorted(roots))
    where = first[np.searchsorted(found, chosen)]
    return chosen[np.argsort(where)]


class _Notes:
    """What the rules noted, by representative."""

    def __init__(self, flow: Flow) -> None:
        self.kind: dict[int, Kind] = {}
        self.mixed: dict[int, set[str]] = {}
        for ids, what in flow.mixed:
            for root in np.unique(flow.atoms.roots(ids)).tolist():
                self.mixed.setdefault(root, set()).add(what)
        for ids, kind in flow.kinds:
            for root in np.unique(flow.atoms.roots(ids)).tolist():
                if self.kind.get(root, "channels") == "channels":
                    self.kind[root] = kind  # type: ignore[assignment]
        self.reads = _marked(flow, flow.reads)
        self.writes = _marked(flow, flow.writes)


def _marked(flow: Flow, noted: list[Ids]) -> NDArray[np.bool_]:
    marks = np.zeros(len(flow.atoms), dtype=bool)
    for ids in noted:
        marks[ids] = True  # the weight's own atoms, whatever they were united with
    return marks


def _group(
    flow: Flow,
    weights: dict[str, Axes],
    places: tuple[tuple[str, int, int], ...],
    roots: NDArray[np.int64],
    notes: _Notes,
) -> Group:
    number = np.full(len(flow.atoms), -1)
    number[roots] = np.arange(len(roots))
    members = []
    for tensor, dim, count in places:
        axis = weights[tensor][dim]
        assert axis is not None
        ids = axis[:, 0]
        owner = number[flow.atoms.roots(ids)]
        own = ids[owner >= 0]
        reads, writes = bool(notes.reads[own].any()), bool(notes.writes[own].any())
        side: Side = "both" if reads and writes else "reads" if reads else "makes"
        members.append(Member(tensor, dim, side, owner, count))
    mixed: set[str] = set().union(*(notes.mixed.get(root, set()) for root in roots.tolist()))
    kinds = Counter(notes.kind.get(root, "channels") for root in roots.tolist())
    kind: Kind = kinds.most_common(1)[0][0]
    return Group(_name(members), kind, len(roots), tuple(members), tuple(sorted(mixed)))


def _name(members: list[Member]) -> str:
    """Return the layer whose weights make the units, or a tensor that belongs to no layer."""
    makers = [m for m in members if m.side != "reads"] or members
    layers = [m for m in makers if layer_of(m.tensor)]
    return layer_of(layers[0].tensor) if layers else makers[0].tensor


def _declined(flow: Flow, weights: dict[str, Axes]) -> tuple[Declined, ...]:
    """Return the operators without a rule, each with the layers that it stops."""
    found = []
    for operator in sorted(flow.stopped):
        stopped = np.zeros(len(flow.atoms), dtype=bool)
        for ids, why in flow.frozen:
            if why == operator:
                stopped[flow.atoms.roots(ids)] = True
        layers = dict.fromkeys(
            layer_of(name)
            for name, axes in weights.items()
            for axis in axes
            if axis is not None and stopped[flow.atoms.roots(axis)].any()
        )
        if layers:
            found.append(Declined(operator, tuple(layers)))
    return tuple(found)
