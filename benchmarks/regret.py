"""Regret of searches by trials and by time, over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class Searched:
    """One search.

    Attributes:
        contender: Who searched.
        seed: From which seed.
        values: What came out of each trial, by number; infinite where nothing did.
        wall_s: When each trial's result was there, in seconds since the search began.
        cpu_s: The same in seconds of CPU time.
    """

    contender: str
    seed: int
    values: tuple[float, ...]
    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]

    def after(self, trials: int) -> float:
        """Return the best value of the first trials."""
        return min(self.values[:trials])

    def until(self, times: Floats, clock: str) -> Floats:
        """Return the best value that is there at each time, infinite before the first."""
        when = np.array(self.times(clock))
        order = np.argsort(when, kind="stable")
        best = np.minimum.accumulate(np.array(self.values)[order])
        place = np.searchsorted(when[order], times, side="right")
        return np.concatenate([[np.inf], best])[place]

    def times(self, clock: str) -> tuple[float, ...]:
        """Return when each trial's result was there."""
        return self.wall_s if clock == "wall" else self.cpu_s

    def seconds(self, clock: str, trials: int) -> float:
        """Return the time at which the first trials were all there."""
        return max(self.times(clock)[:trials])


class Mean(NamedTuple):
    """A mean over seeds with its standard error."""

    middle: float
    error: float


def mean(values: Sequence[float]) -> Mean:
    """Return a mean and its standard error; no error for a single value."""
    found = np.array(values)
    error = found.std(ddof=1) / len(found) ** 0.5 if len(found) > 1 else np.nan
    return Mean(float(found.mean()), float(error))


def clock_grid(searches: Sequence[Searched], clock: str, points: int = 400) -> Floats:
    """Return times from the first trial of all to the last one, even in their logarithm."""
    first = min(min(s.times(clock)) for s in searches)
    last = max(max(s.times(clock)) for s in searches)
    return np.geomspace(max(first, 1e-3), last, points)


def mean_curve(searches: Sequence[Searched], times: Floats, clock: str, least: float) -> Floats:
    """Return the mean regret at each time; infinite before every search has a trial."""
    return np.mean([s.until(times, clock) - least for s in searches], axis=0)


class Reached(NamedTuple):
    """When a target was reached, as a part of what another one took.

    Attributes:
        seconds: Until the mean regret was there; infinite if it never was.
        ratio: To the other's seconds.
        low: The 5th percentile over resampled seeds.
        high: The 95th percentile.
    """

    seconds: float
    ratio: float
    low: float
    high: float


def reached(
    own: Sequence[Searched],
    other: Sequence[Searched],
    trials: int,
    clock: str,
    least: float,
) -> Reached:
    """Return when a contender's mean regret is that of another one after some trials.

    The other's own time is when its mean regret first is what it is at the end. Seeds are
    resampled together for both, so that the interval tells what other seeds might have shown.
    """
    times = clock_grid([*own, *other], clock, 2000)
    own_ST = np.array([s.until(times, clock) - least for s in own])
    other_ST = np.array([s.until(times, clock) - least for s in other])
    ends = np.array([s.after(trials) - least for s in other])

    def once(seeds_own: NDArray[np.intp], seeds_other: NDArray[np.intp]) -> tuple[float, float]:
        target = ends[seeds_other].mean() + 1e-12
        first = [
            times[np.argmax(found)] if found.any() else np.inf
            for found in (
                own_ST[seeds_own].mean(0) <= target,
                other_ST[seeds_other].mean(0) <= target,
            )
        ]
        return first[0], first[0] / first[1]

    draw = np.random.default_rng(0)
    seconds, ratio = once(np.arange(len(own)), np.arange(len(other)))
    paired = [s.seed for s in own] == [s.seed for s in other]
    ratios = []
    for _ in range(RESAMPLES if min(len(own), len(other)) > 1 else 0):
        mine = draw.integers(len(own), size=len(own))
        theirs = mine if paired else draw.integers(len(other), size=len(other))
        ratios.append(once(mine, theirs)[1])
    ranked = np.sort(ratios)  # no interpolation: some may be infinite
    if not len(ranked):
        return Reached(seconds, ratio, np.nan, np.nan)
    low, high = ranked[len(ranked) // 20], ranked[-len(ranked) // 20 - 1]
    return Reached(seconds, ratio, float(low), float(high))


class Behind(NamedTuple):
    """How far one contender is behind another one at the worst time.

    Attributes:
        share: Part of the time, in its logarithm, at which its mean regret is larger.
        seconds: When it is behind by most standard errors.
        lag: By how much then, in the objective's unit; negative if it is never behind.
        error: The standard error of that, over seeds in pairs.
    """

    share: float
    seconds: float
    lag: float
    error: float


def behind(own: Sequence[Searched], other: Sequence[Searched], clock: str) -> Behind:
    """Compare two contenders, by seed, at all times at which their searches are under way.

    That is, once every search has a trial, and until the first of them ends: what a search of
    fewer trials might still have found is not known.
    """
    pairs = [(a, b) for a in own for b in other if a.seed == b.seed]
    both = [search for pair in pairs for search in pair]
    first = max(min(s.times(clock)) for s in both)
    last = min(max(s.times(clock)) for s in both)
    times = np.geomspace(first, last, 400)
    own_ST, other_ST = (np.array([p[k].until(times, clock) for p in pairs]) for k in (0, 1))
    known = np.isfinite(own_ST + other_ST).all(axis=0)  # the first trial may have diverged
    times, lag_ST = times[known], (own_ST - other_ST)[:, known]
    lag, error = lag_ST.mean(0), lag_ST.std(0, ddof=1) / len(pairs) ** 0.5
    worst = int(np.argmax(lag / np.maximum(error, 1e-12)))
    share = float((lag > 1e-12).mean())
    return Behind(share, float(times[worst]), float(lag[worst]), float(error[worst]))
