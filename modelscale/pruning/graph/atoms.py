"""Atoms: what must be kept or removed together, as a union-find on numpy arrays.

An axis of a tensor that may be cut is an int64 array (size, factors): each position belongs to
the atoms of its row and goes when any of them goes. Weights have one factor; a second one comes
from merging two such axes by a view. None stands for an axis that cannot be cut.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[np.int64]
Axis: TypeAlias = "Ids | None"
Axes: TypeAlias = "tuple[Axis, ...]"


class Atoms:
    """Sets of atoms that are united and never parted. Every operation works on whole arrays."""

    def __init__(self) -> None:
        self._parent = np.zeros(1024, dtype=np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def fresh(self, size: int) -> Ids:
        """Return an axis (size, 1) of atoms that belong to nothing yet."""
        first, self._count = self._count, self._count + size
        while self._count > len(self._parent):
            self._parent = np.concatenate([self._parent, np.zeros_like(self._parent)])
        ids = np.arange(first, self._count)
        self._parent[first : self._count] = ids
        return ids[:, None]

    def roots(self, ids: Ids) -> Ids:
        """Return the representative of each atom, in an array of the same shape."""
        found = self._parent[ids]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                self._parent[ids] = found  # later look-ups take one step
                return found
            found = above

    def unite(self, left: Ids, right: Ids) -> None:
        """Unite atoms elementwise; the arrays broadcast against each other."""
        a, b = np.broadcast_arrays(left, right)
        a, b = a.ravel(), b.ravel()
        while True:
            a, b = self.roots(a), self.roots(b)
            differ = a != b
            if not differ.any():
                return
            a, b = a[differ], b[differ]
            # Of several wishes for one root the smallest wins; the others come next round.
            np.minimum.at(self._parent, np.maximum(a, b), np.minimum(a, b))


def merged(axes: Axes, sizes: tuple[int, ...]) -> Axis:
    """Return the one axis that a view makes of several, in row-major order."""
    columns = []
    for place, axis in enumerate(axes):
        if axis is not None:
            shape = [1] * len(sizes) + [axis.shape[1]]
            shape[place] = sizes[place]
            whole = np.broadcast_to(axis.reshape(shape), (*sizes, axis.shape[1]))
            columns.append(whole.reshape(-1, axis.shape[1]))
    return np.concatenate(columns, axis=1) if columns else None


def factors(roots: Ids, sizes: tuple[int, ...]) -> list[list[int]]:
    """Return which of the dimensions that an axis is split into each column varies over.

    Args:
        roots: (product of sizes, factors) representatives.
        sizes: Of the dimensions that a view splits the axis into.
    """
    grid = roots.reshape(*sizes, roots.shape[1])
    varying: list[list[int]] = []
    for column in range(roots.shape[1]):
        values = grid[..., column]
        varying.append(
            [d for d in range(len(sizes)) if not (values == values.take([0], axis=d)).all()]
        )
    return varying
