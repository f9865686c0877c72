"""Successive halving."""

from __future__ import annotations

from pydantic import Field

from modelscale.tuning.early_stops._rungs import falls_behind, is_rung
from modelscale.tuning.early_stops.base import EarlyStopSpec, Standing


class SuccessiveHalving(EarlyStopSpec):
    """At every rung only the best part of all trials that reached it goes on.

    Rungs are after `first`, `first`·`reduction`, `first`·`reduction`², … epochs (Li et al.,
    arXiv:1810.05934, without waiting for others: ASHA).
    """

    first: int = Field(2, ge=1)
    """Epochs of the first rung."""

    reduction: int = Field(3, ge=2)
    """One in so many trials passes a rung."""

    def stops(self, standing: Standing) -> bool:
        if standing.epoch >= standing.epochs:
            return False
        if not is_rung(standing.epoch, self.first, self.reduction):
            return False
        return falls_behind(standing.score, standing.rivals.values(), self.reduction)
