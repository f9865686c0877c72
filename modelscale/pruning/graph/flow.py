"""The state of an analysis: which atoms each axis of each tensor of a graph belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from modelscale.pruning.graph.atoms import Atoms, Axes, Axis, Ids

if TYPE_CHECKING:
    from torch.fx import Node

Role = Literal["batch", "contracted", "free"]
"""What a product of two activations does with a dimension: runs over it, sums it, keeps it."""

Kind = Literal["channels", "heads", "head_size", "hidden"]


@dataclass(frozen=True)
class Several:
    """The outputs of an operator that has more than one tensor."""

    outputs: tuple[Axes, ...]


class Note(NamedTuple):
    """Something that is true of these atoms."""

    ids: Ids
    what: str


class Choice(NamedTuple):
    """A view that splits an axis whose positions are not tied yet, so that one part may stay.

    Attributes:
        node: Name of the view.
        place: Which of its splits.
    """

    node: str
    place: int


class Flow:
    """What the rules of operators write into.

    Attributes:
        atoms: The union-find.
        axes: Of each tensor of the graph that has been visited.
        several: Of nodes with several outputs.
        shapes: Of each tensor, with the example's batch.
        free_sizes: Dimensions whose size follows the batch.
        weights: Nodes that depend on weights alone.
        copies: Atoms along which a tensor was repeated.
        frozen: Atoms that must stay, and why: `input`, `output`, or an operator.
        mixed: Atoms that an operator reads other than by weights of their own.
        reads: Atoms of weights' axes that are summed over: the outgoing weights.
        writes: Atoms of weights' axes that make a value: the incoming weights.
        kinds: What a unit of these atoms is to people.
        roles: What products of activations do with atoms.
        splits: The parts of each split, while probing.
        kept: The part of each split that stayed free, positions along the others being tied.
        stopped: Operators without a rule.
        origins: While probing, the atoms of a split axis and those of one of its parts.
        probing: Whether views split without tying, to learn what becomes of the parts.
    """

    def __init__(self, preferences: dict[Choice, list[int]] | None) -> None:
        """Begin an analysis with what the probe has learnt, or the probe itself for None."""
        self.atoms = Atoms()
        self.axes: dict[Node, Axes] = {}
        self.several: dict[Node, Several] = {}
        self.shapes: dict[Node, tuple[int, ...]] = {}
        self.free_sizes: set[tuple[Node, int]] = set()
        self.weights: set[Node] = set()
        self.copies: set[int] = set()
        self.frozen: list[Note] = []
        self.mixed: list[Note] = []
        self.reads: list[Ids] = []
        self.writes: list[Ids] = []
        self.kinds: list[Note] = []
        self.probing = preferences is None
        self.preferences = preferences or {}
        self.roles: list[tuple[Ids, Role]] = []
        self.splits: dict[Choice, list[Axis]] = {}
        self.kept: dict[Choice, tuple[int, Ids]] = {}
        self.stopped: set[str] = set()
        self.origins: list[tuple[Ids, Ids]] = []

    def freeze(self, axis: Axis, why: str) -> None:
        """Keep every position of an axis."""
        if axis is not None:
            self.frozen.append(Note(axis.ravel(), why))

    def fixed(self, size: int) -> Ids:
        """Return an axis of positions that must stay."""
        axis = self.atoms.fresh(size)
        self.freeze(axis, "constant")
        return axis

    def equal_copies(self, size: int) -> Ids:
        """Return an axis of a new size along which all values are equal."""
        axis = self.atoms.fresh(size)
        self.copies.update(axis.ravel().tolist())
        return axis

    def join(self, left: Axis, right: Axis, why: str) -> Axis:
        """Let two axes of the same size be cut at the same positions only."""
        if left is None or right is None:
            self.freeze(right if left is None else left, why)
            return None
        assert len(left) == len(right), f"{why}: {len(left)} meets {len(right)}"
        if left is right or self._equal(left, right):
            return left
        if not self.probing:
            self.atoms.unite(left[:, :1], left)
            self.atoms.unite(left[:, :1], right)
        elif left.shape == right.shape:  # the factors of a dimension are to be told apart
            self.atoms.unite(left, right)
        return left

    def join_all(self, axes: Sequence[Axis], why: str) -> Axis:
        """Let axes be cut at the same positions only."""
        first, *others = axes
        for other in others:
            first = self.join(first, other, why)
        return first

    def tie(self, rows: Ids) -> Ids:
        """Return an axis (n, 1) of which each position stands for a whole row of `rows`."""
        flat = rows.reshape(len(rows), -1)
        self.atoms.unite(flat[:, :1], flat)
        return flat[:, :1]

    def mix(self, axis: Axis, operator: str) -> None:
        """Note that an operator's result changes when positions go, whatever the weights."""
        if axis is not None:
            self.mixed.append(Note(axis.ravel(), operator))

    def read(self, axis: Axis) -> None:
        """Note that these positions of a weight read the units."""
        if axis is not None:
            self.reads.append(axis.ravel())

    def write(self, axis: Axis) -> None:
        """Note that these positions of a weight make the units."""
        if axis is not None:
            self.writes.append(axis.ravel())

    def role(self, axis: Axis, role: Role) -> None:
        """Note what a product of activations does with an axis."""
        if axis is not None:
            self.roles.append((axis.ravel(), role))

    def broadcast(self, operands: Sequence[Operand], why: str) -> Axes:
        """Return the axes of an elementwise result; operands are aligned at their ends."""
        rank = max((len(o.shape) for o in operands), default=0)
        out: list[Axis] = []
        for place in range(1, rank + 1):
            here = [
                o.axes[-place]
                for o in operands
                if len(o.shape) >= place and o.shape[-place] != 1
            ]
            out.append(self.join_all(here, why) if here else None)
        return tuple(reversed(out))

    def operand(self, node: Node) -> Operand:
        """Return a tensor's axes and shape."""
        return Operand(self.axes[node], self.shapes[node])

    def tensors(self, value: Any) -> Iterator[Node]:
        """Yield the tensor nodes in an argument, however nested."""
        if isinstance(value, (list, tuple)):
            for item in value:
                yield from self.tensors(item)
        elif isinstance(value, dict):
            yield from self.tensors(list(value.values()))
        elif getattr(value, "op", None) is not None and value in self.axes:
            yield value

    def is_resizable(self, node: Node, dim: int) -> bool:
        """Return whether a constant is as large along a dimension as the graph says."""
        return self.shapes[node][dim] > 1 and (node, dim) not in self.free_sizes

    def _equal(self, left: Ids, right: Ids) -> bool:
        if left.shape != right.shape:
            return False
        return np.array_equal(left, right) or np.array_equal(
            self.atoms.roots(left), self.atoms.roots(right)
        )


class Operand(NamedTuple):
    """A tensor as an elementwise operator sees it."""

    axes: Axes
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """A call of an operator, with every argument under its name in the operator's schema.

    Attributes:
        flow: What the rule writes into.
        node: The call.
        operator: The operator's name without namespace and overload, such as `conv2d`.
        arguments: By name, defaults filled in.
    """

    flow: Flow
    node: Node
    operator: str
    arguments: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def axes(self, name: str) -> Axes:
        """Return the axes of a tensor argument."""
        return self.flow.axes[self.arguments[name]]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor argument."""
        return self.flow.shapes[self.arguments[name]]

    def given(self, name: str) -> bool:
        """Return whether an optional tensor is there."""
        return self.arguments.get(name) is not None

    @property
    def rank(self) -> int:
        """Number of dimensions of the result."""
        return len(self.flow.shapes[self.node])

    @property
    def result(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.flow.shapes[self.node]

    def is_weight(self, name: str) -> bool:
        """Return whether an argument depends on weights alone."""
        return self.arguments[name] in self.flow.weights


Rule: TypeAlias = "Callable[[Call], Axes | Several | None]"
"""Returns the axes of the result, or None where the operator cannot be followed here."""
