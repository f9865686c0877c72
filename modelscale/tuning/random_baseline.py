"""What random search would have found: the honest measure of a search."""

from __future__ import annotations

import math
from collections.abc import Sequence


def expected_best_of_random(
    values: Sequence[float | None], budgets: Sequence[int], *, maximize: bool
) -> list[float]:
    """Return the expected best of n random trials, for each n of `budgets`.

    The exact mean, over all subsets of n of the observed trials (drawn without replacement), of
    their best value, from order statistics: no trial is drawn again, so it is free of chance
    given the observed ones. Without replacement it is unbiased for the mean over fresh random
    searches of n trials (as "expected validation performance": Dodge et al., arXiv:1909.03004;
    without their bias, Tang et al., arXiv:2004.14487).

    Args:
        values: Results of random trials, at least one finite. One that diverged or failed
            (None or not finite) counts as the worst finite one: a search spends a trial on it.
        budgets: Numbers of trials, each from 1 to `len(values)`.
        maximize: Whether larger values are better.

    Raises:
        ValueError: If no value is finite, or a budget is out of range.
    """
    sign = 1.0 if maximize else -1.0
    known = [sign * v for v in values if v is not None and math.isfinite(v)]
    if not known:
        raise ValueError("no random trial has a finite value")
    count = len(values)
    scores = sorted(known + [min(known)] * (count - len(known)), reverse=True)
    curve = []
    for budget in budgets:
        if not 1 <= budget <= count:
            raise ValueError(f"a budget must be from 1 to {count}, got {budget}")
        curve.append(sign * _expected_best(scores, budget))
    return curve


def _expected_best(scores: list[float], budget: int) -> float:
    """Return the mean best of all subsets of `budget` scores, which are in falling order."""
    count = len(scores)
    # Chance that the best of a subset is the k-th score: it is in, and no better one is.
    chance = budget / count
    terms = []
    for k, score in enumerate(scores):
        terms.append(chance * score)
        left = count - k - 1
        if left < budget:
            break
        chance *= (left - budget + 1) / left
    return math.fsum(terms)
