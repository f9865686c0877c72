"""Stopping below a bar."""

from __future__ import annotations

import math

from pydantic import Field

from modelscale.tuning.early_stops.base import EarlyStopSpec, Standing


class Threshold(EarlyStopSpec):
    """Stops a trial that is worse than a bound after some epochs, whatever the others do.

    With several objectives it looks at the first one.
    """

    bound: float
    """The worst value that goes on, in the metric's unit."""

    after: int = Field(1, ge=1)
    """First epoch after which it is applied."""

    def stops(self, standing: Standing) -> bool:
        if standing.epoch >= standing.epochs or standing.epoch < self.after:
            return False
        value = standing.curve[standing.epoch]
        if not math.isfinite(value):
            return True
        return value < self.bound if standing.maximize else value > self.bound
