"""Fewer points that look the same: what a plot of a million values can show of them.

Deterministic, so that equal input gives an equal page. No numpy: the work is one pass.
"""

import random
from collections.abc import Sequence
from math import fsum, isfinite, nan

from modelscale.report.charts import Series

CURVE_POINTS = 2000
"""Points of a line that are drawn at most."""

SCATTER_POINTS = 5000
"""Points of a scatter plot that are drawn at most."""

_LARGEST = 1e100  # beyond it axis arithmetic overflows; nobody's loss is a number there
_SMALLEST = 1e-100


def plottable(value: float) -> bool:
    """Return whether a value has a place on an axis."""
    return isfinite(value) and abs(value) < _LARGEST


def has_logarithm(value: float) -> bool:
    """Return whether a value has a place on a logarithmic axis."""
    return _SMALLEST < value < _LARGEST


def condensed(series: Series, limit: int = CURVE_POINTS, stretches: int = 500) -> Series:
    """Return a line of at most `limit` points; a longer one as `stretches` means with a band.

    The band goes from the lowest to the highest value of each stretch, so that no spike is
    lost; a series with a band of its own keeps that, by its extremes. A stretch without finite
    values stays as a gap.
    """
    n = len(series.y)
    if n <= limit:
        return series
    x, y, low, high = [], [], [], []
    for stretch in range(stretches):
        rows = range(stretch * n // stretches, (stretch + 1) * n // stretches)
        kept = [i for i in rows if plottable(series.y[i]) and plottable(series.x[i])]
        x.append(_mean([series.x[i] for i in kept]))
        y.append(_mean([series.y[i] for i in kept]))
        low.append(min(_at(series.low or series.y, kept), default=nan))
        high.append(max(_at(series.high or series.y, kept), default=nan))
    return Series(series.name, tuple(x), tuple(y), tuple(low), tuple(high))


def curve_rows(n: int, limit: int = CURVE_POINTS) -> list[int]:
    """Return evenly spread indices of at most `limit` of `n` points, the last among them."""
    if n <= limit:
        return list(range(n))
    return [i * (n - 1) // (limit - 1) for i in range(limit)]


def _mean(values: Sequence[float]) -> float:
    return fsum(values) / len(values) if values else nan


def _at(values: Sequence[float], rows: Sequence[int]) -> list[float]:
    return [values[i] for i in rows if plottable(values[i])]


def scatter_rows(n: int, limit: int = SCATTER_POINTS) -> list[int]:
    """Return the indices of at most `limit` of `n` points, drawn with a fixed seed."""
    if n <= limit:
        return list(range(n))
    return sorted(random.Random(0).sample(range(n), limit))
