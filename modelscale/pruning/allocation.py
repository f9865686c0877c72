"""How many units each layer loses, in steps that processors like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.pruning.graph.units import Group

Allocation = Literal["global", "uniform"]
Counts = dict[str, int]
_WIDEST_STEP = 16
_LEAST_STEPS = 2


@dataclass(frozen=True)
class Ladder:
    """The widths that one group may have.

    Attributes:
        name: Of the group.
        rungs: Numbers of units that may stay, smallest first; the last one is all of them.
        worth: For each rung but the last, how much the units between it and the next matter:
            their mean score over the mean of all.
    """

    name: str
    rungs: tuple[int, ...]
    worth: tuple[float, ...]

    def below(self, units: int) -> int | None:
        """Return the next smaller width, None at the smallest."""
        place = self.rungs.index(units)
        return self.rungs[place - 1] if place else None

    def above(self, units: int) -> int | None:
        """Return the next larger width, None at the largest."""
        place = self.rungs.index(units)
        return self.rungs[place + 1] if place + 1 < len(self.rungs) else None

    def worth_of(self, units: int) -> float:
        """Return how much the units from this width to the next larger one matter."""
        return self.worth[self.rungs.index(units)]

    def nearest(self, share: float) -> int:
        """Return the width nearest to a share of all units, the larger one of two."""
        wanted = share * self.rungs[-1]
        return min(self.rungs, key=lambda n: (abs(n - wanted), -n))


def ladder_of(
    group: Group, scores_U: Tensor, align: Literal["auto"] | int, least: float
) -> Ladder:
    """Return the widths that a group may have, by its units' scores.

    Args:
        group: The units.
        scores_U: How much each matters.
        align: Multiple of positions; `auto` is a power of two from 1 to 16 that is no more
            than half of the width, with half and a quarter of it as the last widths.
        least: Share of its units that stays at least.
    """
    per_unit = max(1, min((m.per_unit for m in group.makers), default=1))
    step = step_of(group.units * per_unit, align)
    units_a_step = max(1, step // per_unit)
    smallest = max(1, -(-round(least * group.units * 1e6) // 10**6))
    rungs = [*_widths(group.units, units_a_step, smallest, align == "auto"), group.units]
    ordered = scores_U.sort(descending=True).values
    mean = float(ordered.mean())
    scaled = ordered / mean if mean > 0 else ordered
    worth = tuple(float(scaled[a:b].mean()) for a, b in pairwise(rungs))
    return Ladder(group.name, tuple(rungs), worth)


def _widths(units: int, step: int, smallest: int, finer: bool) -> list[int]:
    """Return the widths below the whole: multiples of a step, half and a quarter of it."""
    first = -(-smallest // step) * step
    below = [width for width in (step // 4, step // 2) if finer and smallest <= width < first]
    return sorted({*below, *range(first, units, step)} - {0})


def step_of(width: int, align: Literal["auto"] | int) -> int:
    """Return of what the widths of a layer of `width` positions are multiples.

    (Kernels of convolutions and matrix products compute 16 or 8 channels at a time, so that
    15 are no faster than 16.)
    """
    if align != "auto":
        return align if width >= 2 * align else 1
    step = 1
    while step < _WIDEST_STEP and step * 2 * _LEAST_STEPS <= width:
        step *= 2
    return step


def shrink(
    ladders: Mapping[str, Ladder],
    allocation: Allocation,
    fits: Callable[[Counts], bool],
) -> Counts | None:
    """Return how many units of each group stay: as many as fit.

    Steps of least worth go first (`global`), or all layers come down together (`uniform`);
    then those that still fit are given back, the worthiest first.

    Args:
        ladders: Of each group, by name.
        allocation: Which layers lose how much.
        fits: Whether so many units are few enough; it must hold for fewer units, too.

    Returns:
        None if not even the smallest widths fit.
    """
    counts = {name: ladder.rungs[-1] for name, ladder in ladders.items()}
    if not fits({name: ladder.rungs[0] for name, ladder in ladders.items()}):
        return None
    order = _by_worth(ladders) if allocation == "global" else _together(ladders)
    for name, units in order:
        if fits(counts):
            break
        counts[name] = units
    return _given_back(counts, ladders, fits)


def _by_worth(ladders: Mapping[str, Ladder]) -> list[tuple[str, int]]:
    """Return all steps down, the least worthy first; a group's own in their order."""
    steps: list[tuple[float, str, int]] = []
    for name, ladder in ladders.items():
        worth = 0.0
        for units in reversed(ladder.rungs[:-1]):
            worth = max(worth, ladder.worth_of(units))  # scores fall, so this is no change
            steps.append((worth, name, units))
    steps.sort(key=lambda step: (step[0], step[1], -step[2]))
    return [(name, units) for _, name, units in steps]


def _together(ladders: Mapping[str, Ladder]) -> list[tuple[str, int]]:
    """Return all steps down so that all groups keep about the same share."""
    steps = [
        (units / ladder.rungs[-1], name, units)
        for name, ladder in ladders.items()
        for units in ladder.rungs[:-1]
    ]
    steps.sort(key=lambda step: (-step[0], step[1]))
    return [(name, units) for _, name, units in steps]


def _given_back(
    counts: Counts, ladders: Mapping[str, Ladder], fits: Callable[[Counts], bool]
) -> Counts:
    """Return the counts with every step given back that fits."""
    counts = dict(counts)
    refused: set[str] = set()
    while True:
        open_steps = [
            (ladder.worth_of(counts[name]), name)
            for name, ladder in ladders.items()
            if name not in refused and ladder.above(counts[name]) is not None
        ]
        if not open_steps:
            return counts
        _, name = max(open_steps)
        above = ladders[name].above(counts[name])
        assert above is not None
        if fits({**counts, name: above}):
            counts[name] = above
        else:
            refused.add(name)


def kept_units(scores: Mapping[str, Tensor], counts: Counts) -> dict[str, list[int]]:
    """Return the units that stay: those of the highest scores, in their own order."""
    kept = {}
    for name, units in counts.items():
        if units == len(scores[name]):
            continue
        best = scores[name].argsort(descending=True, stable=True)[:units]
        kept[name] = sorted(best.tolist())
    return kept
