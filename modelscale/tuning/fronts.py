"""Several objectives: which points no other one beats, and how much a set of points covers."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, ...]


def pareto_front(values: Sequence[Point], maximize: Sequence[bool]) -> list[int]:
    """Return the indices of the points that no other one dominates, in order.

    A point dominates another one if it is nowhere worse and somewhere better; equal points are
    on the front together.

    Args:
        values: Finite objectives of each point.
        maximize: For each objective whether larger is better.
    """
    costs = _costs(values, maximize)
    return [i for i, cost in enumerate(costs) if not any(_beats(o, cost) for o in costs)]


def domination_scores(values: Sequence[Point], maximize: Sequence[bool]) -> list[float]:
    """Return a score for each point, larger for better: minus the number of its front.

    The front is 0, what is the front without those is 1, and so on (Deb et al., 2002). A
    weighted sum or the first objective alone would give up one end of the front; this keeps
    the best small model as well as the best large one.
    """
    costs = _costs(values, maximize)
    scores = [0.0] * len(costs)
    left, depth = set(range(len(costs))), 0
    while left:
        front = {i for i in left if not any(_beats(costs[j], costs[i]) for j in left)}
        for i in front:
            scores[i] = -float(depth)
        left -= front
        depth += 1
    return scores


def hypervolume(
    values: Sequence[Point], maximize: Sequence[bool], reference: Sequence[float]
) -> float:
    """Return the volume of what the points dominate, down to a reference point.

    Exact, by slices along the last objective; meant for a few hundred points.

    Args:
        values: Finite objectives of each point.
        maximize: For each objective whether larger is better.
        reference: A point that is worse in everything; others count as far as they beat it.
    """
    corner = _costs([tuple(reference)], maximize)[0]
    costs = _costs(values, maximize)
    return _covered(
        [c for c in costs if all(a < r for a, r in zip(c, corner, strict=True))], corner
    )


def _covered(costs: list[Point], corner: Point) -> float:
    if not costs:
        return 0.0
    if len(corner) == 1:
        return corner[0] - min(cost[0] for cost in costs)
    # Between two neighbouring values of the last objective the covered area stays the same.
    levels = sorted({cost[-1] for cost in costs})
    total = 0.0
    for low, high in zip(levels, [*levels[1:], corner[-1]], strict=True):
        below = [cost[:-1] for cost in costs if cost[-1] <= low]
        front = [c for c in set(below) if not any(_beats(other, c) for other in below)]
        total += (high - low) * _covered(front, corner[:-1])
    return total


def _costs(values: Sequence[Point], maximize: Sequence[bool]) -> list[Point]:
    return [
        tuple(-v if up else v for v, up in zip(point, maximize, strict=True))
        for point in values
    ]


def _beats(one: Point, other: Point) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
