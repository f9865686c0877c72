"""Latency as a function of widths, from a table of measured ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelscale.pruning.allocation import Counts, Ladder

_WIDTHS = 3
"""Widths of each group that are measured beside the whole one."""


@dataclass(frozen=True)
class LatencyTable:
    """What the network takes when one group has another width, as a share of the whole.

    Attributes:
        points: For each group its widths, smallest first, with the share measured; the last
            one is the whole width with 1.
    """

    points: dict[str, tuple[tuple[int, float], ...]]

    def share(self, counts: Counts) -> float:
        """Return the share of the whole network's latency that is to be expected.

        Savings of groups are added, as if no layer were in two of them, so that the truth is
        somewhat more: the caller measures and corrects.
        """
        saved = sum(1 - self._at(group, units) for group, units in counts.items())
        return max(0.0, 1 - saved)

    def _at(self, group: str, units: int) -> float:
        points = self.points[group]
        widths = [width for width, _ in points]
        place = bisect_left(widths, units)
        if widths[place] == units or place == 0:
            return points[place][1]
        (a, at_a), (b, at_b) = points[place - 1], points[place]
        return at_a + (at_b - at_a) * (units - a) / (b - a)


def widths_to_measure(ladder: Ladder) -> list[int]:
    """Return some widths of a group below the whole one, the smallest among them."""
    below = ladder.rungs[:-1]
    if len(below) <= _WIDTHS:
        return list(below)
    return [below[round(k * (len(below) - 1) / (_WIDTHS - 1))] for k in range(_WIDTHS)]


def table_of(
    ladders: Mapping[str, Ladder], shares: Mapping[tuple[str, int], float]
) -> LatencyTable:
    """Return the table of measured shares by group and width.

    A narrower layer never counts as slower than a wider one: that would be noise, or a width
    that is not worth having.
    """
    points: dict[str, tuple[tuple[int, float], ...]] = {}
    for name, ladder in ladders.items():
        measured = [(w, shares[name, w]) for w in widths_to_measure(ladder)]
        points[name] = _rising([*measured, (ladder.rungs[-1], 1.0)])
    return LatencyTable(points)


def _rising(points: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    made: list[tuple[int, float]] = []
    least = 1.0
    for width, share in reversed(points):
        least = min(least, share)
        made.append((width, least))
    return tuple(reversed(made))
