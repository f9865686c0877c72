"""Quantiles of the normal and of Student's distribution, without SciPy."""

from __future__ import annotations

import math
from statistics import NormalDist

_ITERATIONS = 80


def normal_quantile(probability: float) -> float:
    """Return the standard normal quantile."""
    return NormalDist().inv_cdf(probability)


def student_quantile(probability: float, freedom: float) -> float:
    """Return Student's quantile for any positive degrees of freedom.

    By bisection of the distribution function, an incomplete beta function computed as a
    continued fraction (Lentz; see Press et al., Numerical Recipes, section 6.4).
    """
    if probability < 0.5:
        return -student_quantile(1 - probability, freedom)
    if probability == 0.5:
        return 0.0
    low, high = 0.0, 1.0
    while _student_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(_ITERATIONS):
        middle = 0.5 * (low + high)
        low, high = (
            (middle, high) if _student_cdf(middle, freedom) < probability else (low, middle)
        )
    return 0.5 * (low + high)


def _student_cdf(t: float, freedom: float) -> float:
    x = freedom / (freedom + t * t)
    return 1 - 0.5 * _incomplete_beta(freedom / 2, 0.5, x)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log1p(-x)
    )
    if x > (a + 1) / (a + b + 2):
        return 1 - front * _fraction(b, a, 1 - x) / b
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function."""
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 500):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
