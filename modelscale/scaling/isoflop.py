"""Reading optima off points of equal compute, without a law.

At each budget the loss against log size has a minimum. A parabola through *all* points of a
budget is biased, since the true curve is steeper on one side; here it goes through the lowest
point and its two neighbours only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from modelscale.scaling.points import Points

ALIKE = 0.1
"""Budgets that differ by less than this part count as one."""

_LEAST_POINTS = 3


class Minimum(NamedTuple):
    """The minimum of one budget.

    Attributes:
        compute: The budget, FLOPs.
        parameters: Size of least loss.
        tokens: What is left for data.
        loss: The loss there.
        points: How many points the budget has.
        edge: Whether the lowest point is the smallest or largest size: the true minimum lies
            beyond.
    """

    compute: float
    parameters: float
    tokens: float
    loss: float
    points: int
    edge: bool


def minima(points: Points, alike: float = ALIKE) -> list[Minimum]:
    """Return the minimum of each budget that has at least three sizes, smallest first."""
    import numpy as np

    if not {"parameters", "tokens", "compute"} <= points.inputs.keys():
        return []
    order = np.argsort(points.inputs["compute"], kind="stable")
    compute = points.inputs["compute"][order]
    size, loss = np.log(points.inputs["parameters"][order]), points.loss_M[order]
    breaks = np.flatnonzero(np.diff(np.log(compute)) > np.log1p(alike) / 2) + 1
    found = []
    for part in np.split(np.arange(len(compute)), breaks):
        x, y = _averaged(size[part], loss[part])
        if len(x) < _LEAST_POINTS:
            continue
        low = int(np.argmin(y))
        edge = low in {0, len(x) - 1}
        middle = min(max(low, 1), len(x) - 2)
        at, least = (x[low], y[low]) if edge else _vertex(x, y, middle)
        budget = float(np.exp(np.log(compute[part]).mean()))
        tokens = budget / (6 * np.exp(at))
        found.append(
            Minimum(budget, float(np.exp(at)), float(tokens), float(least), len(part), edge)
        )
    return found


def _averaged(x: object, y: object) -> tuple[list[float], list[float]]:
    """Return distinct sizes, ascending, with their mean losses."""
    import numpy as np

    sizes, place = np.unique(np.round(np.asarray(x, dtype=float), 6), return_inverse=True)
    sums = np.bincount(place, np.asarray(y, dtype=float))
    return sizes.tolist(), (sums / np.bincount(place)).tolist()


def _vertex(x: list[float], y: list[float], middle: int) -> tuple[float, float]:
    """Return the vertex of the parabola through a point and its neighbours."""
    left, right = x[middle] - x[middle - 1], x[middle + 1] - x[middle]
    down, up = (y[middle] - y[middle - 1]) / left, (y[middle + 1] - y[middle]) / right
    bend = (up - down) / (left + right)
    slope = down + bend * left
    if bend <= 0:
        return x[middle], y[middle]
    return x[middle] - slope / (2 * bend), y[middle] - slope**2 / (4 * bend)
