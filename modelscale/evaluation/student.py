"""Student's t: quantiles, and the interval of a mean over a few seeds. No SciPy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SERIES_FROM = 200  # degrees of freedom


@dataclass(frozen=True)
class MeanInterval:
    """The mean of independent repetitions, such as seeds, and where it may lie.

    Attributes:
        mean: Their mean.
        std: Their standard deviation, with n - 1; NaN for a single value.
        low: Lower bound of the mean; NaN for a single value.
        high: Upper bound of the mean; NaN for a single value.
        n: How many values.
    """

    mean: float
    std: float
    low: float
    high: float
    n: int


def mean_over_seeds(
    values: Sequence[float],
    confidence: float = 0.95,
    possible: tuple[float, float] = (-math.inf, math.inf),
) -> MeanInterval:
    """Return the mean of `values` with its Student-t interval; NaN among them makes NaN.

    Args:
        values: One of each repetition.
        confidence: Nominal coverage.
        possible: The least and the greatest mean that there can be; the interval ends there.

    Raises:
        ValueError: If there are no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("a mean needs at least one value")
    mean = fmean(values)
    if n == 1 or not math.isfinite(mean):
        return MeanInterval(mean, math.nan, math.nan, math.nan, n)
    std = stdev(values)
    reach = t_quantile((1 + confidence) / 2, n - 1) * std / math.sqrt(n)
    low, high = max(mean - reach, possible[0]), min(mean + reach, possible[1])
    return MeanInterval(mean, std, low, high, n)


def t_quantile(probability: float, degrees: int) -> float:
    """Return where Student's t distribution reaches `probability`.

    Args:
        probability: Between 0 and 1, both excluded.
        degrees: Degrees of freedom, a whole number from 1.
    """
    if not (0 < probability < 1 and degrees >= 1):
        raise ValueError(f"no t quantile at {probability=}, {degrees=}")
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    if degrees > _SERIES_FROM:
        return _by_series(probability, degrees)
    # |t| = sqrt(degrees) tan(angle); the central probability grows with the angle.
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        angle = (low + high) / 2
        if _central_probability(angle, degrees) < 2 * probability - 1:
            low = angle
        else:
            high = angle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _central_probability(angle: float, degrees: int) -> float:
    """Return P(|T| < sqrt(degrees) tan(angle)), a finite sum (Abramowitz & Stegun 26.7.3-4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2 == 1
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(degrees // 2):
        total += term
        term *= cosine**2 * ((2 * k + 2) / (2 * k + 3) if odd else (2 * k + 1) / (2 * k + 2))
    return (angle + sine * total) * 2 / math.pi if odd else sine * total


def _by_series(probability: float, degrees: int) -> float:
    """Return the quantile for many degrees of freedom (Abramowitz & Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(probability)
    corrections = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(c / float(degrees) ** power for power, c in enumerate(corrections, 1))
