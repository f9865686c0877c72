"""Alarms beside events: a threshold from usual examples, and what it finds in order of time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Found(NamedTuple):
    """What alarms find.

    An event is an unbroken run of examples of one unit that are labelled 1; an alarm event is
    such a run of alarms. An event is found if at least one of its examples has an alarm, and an
    alarm event is right if at least one of its examples is labelled 1. Labels are never spread
    over a whole event ("point adjustment"): the measures of rows count rows as they are.

    Attributes:
        events: Events that there are.
        found: Those that are found.
        alarms: Alarm events.
        right: Those that are right.
    """

    events: int
    found: int
    alarms: int
    right: int

    @property
    def recall(self) -> float:
        """Share of the events that are found; NaN without events."""
        return self.found / self.events if self.events else math.nan

    @property
    def precision(self) -> float:
        """Share of the alarm events that are right; NaN without alarms."""
        return self.right / self.alarms if self.alarms else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 0 where nothing is found, NaN without events."""
        if not self.events:
            return math.nan
        total = self.recall + (self.precision if self.alarms else 0.0)
        return 2 * self.recall * self.precision / total if self.found else 0.0


def threshold_at(score_N: Tensor, rate: float) -> float:
    """Return the smallest score of usual examples that at most `rate` of them pass.

    Args:
        score_N: (N,) scores of examples that are to raise no alarm; N is at least 1.
        rate: Share of them that may all the same: whose score is above the threshold.
    """
    ordered_N = score_N.double().sort().values
    place = len(ordered_N) - 1 - math.floor(rate * len(ordered_N) + 1e-9)
    return ordered_N[max(0, min(place, len(ordered_N) - 1))].item()


def events_found(alarm_N: Tensor, label_N: Tensor, unit_N: Tensor) -> Found:
    """Return how alarms fit events.

    Args:
        alarm_N: (N,) bool, in order of unit and time.
        label_N: (N,) bool.
        unit_N: (N,) whole numbers; a run ends with its unit.
    """
    events, found = _runs(label_N, alarm_N, unit_N)
    alarms, right = _runs(alarm_N, label_N, unit_N)
    return Found(events, found, alarms, right)


def _runs(in_run_N: Tensor, hit_N: Tensor, unit_N: Tensor) -> tuple[int, int]:
    """Return how many runs there are, and in how many of them there is a hit."""
    import torch

    if not len(in_run_N):
        return 0, 0
    before_N = torch.zeros_like(in_run_N)
    before_N[1:] = in_run_N[:-1] & (unit_N[1:] == unit_N[:-1])
    number_N = (in_run_N & ~before_N).cumsum(0)
    return int(number_N[-1]), len(number_N[in_run_N & hit_N].unique())
