"""One cycle of the learning rate."""

import math

from pydantic import Field

from modelscale.optimizers.schedules.base import ScheduleSpec


class OneCycle(ScheduleSpec):
    """Up to the peak and down to almost nothing, both along half a cosine.

    After Smith & Topin (arXiv:1708.07120); the rate alone is cycled, not the momentum.
    """

    rise: float = Field(0.3, gt=0, lt=1)
    """Fraction of all steps until the peak."""

    first: float = Field(0.04, gt=0, le=1)
    """Fraction of the peak at the first step."""

    final: float = Field(4e-6, ge=0, le=1)
    """Fraction of the peak that is left at the end."""

    def scale(self, progress: float, epoch: int) -> float:
        if progress < self.rise:
            start, end, part = self.first, 1.0, progress / self.rise
        else:
            start, end, part = 1.0, self.final, (progress - self.rise) / (1 - self.rise)
        return end + (start - end) * 0.5 * (1 + math.cos(math.pi * part))
