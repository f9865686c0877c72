"""The median rule."""

from __future__ import annotations

from statistics import median

from pydantic import Field

from modelscale.tuning.early_stops.base import EarlyStopSpec, Standing


class Median(EarlyStopSpec):
    """Stops a trial that is worse than the median of all trials at the same epoch.

    (Golovin et al., "Google Vizier", KDD 2017.)
    """

    warmup: int = Field(3, ge=0)
    """Epochs in which no trial is stopped."""

    least_rivals: int = Field(5, ge=2)
    """Trials that must have reached the epoch before it stops anybody."""

    def stops(self, standing: Standing) -> bool:
        if standing.epoch >= standing.epochs or standing.epoch <= self.warmup:
            return False
        if len(standing.rivals) < self.least_rivals:
            return False
        return standing.score < median(standing.rivals.values())
