"""Hyperband."""

from __future__ import annotations

from functools import cache

from pydantic import Field

from modelscale.tuning.early_stops._rungs import falls_behind, is_rung
from modelscale.tuning.early_stops.base import EarlyStopSpec, Standing


class Hyperband(EarlyStopSpec):
    """Successive halving in several brackets, of which each begins to stop trials later.

    (Li et al., JMLR 18, 2018.) For metrics whose first epochs may mislead: bracket b has its
    first rung after `first`·`reduction`ᵇ epochs, and the last bracket stops nobody. A trial's
    bracket follows from its number, so that each bracket costs about the same epochs, and it is
    compared within its bracket only.
    """

    first: int = Field(2, ge=1)
    """Epochs of the first rung of the first bracket."""

    reduction: int = Field(3, ge=2)
    """One in so many trials passes a rung."""

    def stops(self, standing: Standing) -> bool:
        cycle = brackets(standing.epochs, self.first, self.reduction)
        bracket = cycle[standing.number % len(cycle)]
        first = self.first * self.reduction**bracket
        if standing.epoch >= standing.epochs:
            return False
        if not is_rung(standing.epoch, first, self.reduction):
            return False
        rivals = (
            score
            for number, score in standing.rivals.items()
            if cycle[number % len(cycle)] == bracket
        )
        return falls_behind(standing.score, rivals, self.reduction)


@cache
def brackets(epochs: int, first: int, reduction: int) -> tuple[int, ...]:
    """Return the brackets of successive trials, over and over again.

    A bracket in which trials pass s rungs has about (s_max + 1) / (s + 1) · reductionˢ trials
    of a cycle, each bracket's spread evenly.
    """
    most = 0
    while first * reduction**most < epochs:
        most += 1
    # Bracket b has most - b rungs before the last epoch.
    sizes = {
        b: -(-(most + 1) * reduction ** (most - b) // (most - b + 1)) for b in range(most + 1)
    }
    total = sum(sizes.values())
    owed = dict.fromkeys(sizes, 0)
    cycle = []
    for _ in range(total):
        for bracket, share in sizes.items():
            owed[bracket] += share
        chosen = max(owed, key=lambda bracket: (owed[bracket], -bracket))
        owed[chosen] -= total
        cycle.append(chosen)
    return tuple(cycle)
