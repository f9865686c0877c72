"""Successive halving."""

from __future__ import annotations

from pydantic import Field

from modelscale.tuning.early_stops.base import EarlyStopSpec


class SuccessiveHalving(EarlyStopSpec):
    """At every rung only the best part of all trials that reached it goes on.

    Rungs are after `first`, `first`·`reduction`, `first`·`reduction`², … epochs (Li et al.,
    arXiv:1810.05934, without waiting for others: ASHA).
    """

    first: int = Field(2, ge=1)
    """Epochs of the first rung."""

    reduction: int = Field(3, ge=2)
    """One in so many trials passes a rung."""

    def stops(self, epoch: int, epochs: int, score: float, rivals: list[float]) -> bool:
        if epoch >= epochs or not self._is_rung(epoch):
            return False
        # With fewer rivals than one in `reduction` nobody can be told to be the best.
        places = len(rivals) // self.reduction
        return places > 0 and score < sorted(rivals, reverse=True)[places - 1]

    def _is_rung(self, epoch: int) -> bool:
        rung = self.first
        while rung < epoch:
            rung *= self.reduction
        return rung == epoch
