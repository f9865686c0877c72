"""Stopping without progress."""

from __future__ import annotations

from pydantic import Field

from modelscale.tuning.early_stops.base import EarlyStopSpec, Standing


class Patience(EarlyStopSpec):
    """Stops a trial whose own metric has not improved for some epochs, whatever the others do.

    With several objectives it looks at the first one.
    """

    epochs: int = Field(5, ge=1)
    """Epochs without improvement."""

    least: float = Field(0.0, ge=0)
    """What counts as an improvement, in the metric's unit: more than so much."""

    def stops(self, standing: Standing) -> bool:
        if standing.epoch >= standing.epochs:
            return False
        sign = 1.0 if standing.maximize else -1.0
        best, best_epoch = None, 0
        for epoch in sorted(e for e in standing.curve if e <= standing.epoch):
            score = sign * standing.curve[epoch]
            if best is None or score > best + self.least:
                best, best_epoch = score, epoch
        return standing.epoch - best_epoch >= self.epochs
