"""A learning rate that falls along half a cosine."""

import math

from pydantic import Field

from modelscale.optimizers.schedules.base import ScheduleSpec


class Cosine(ScheduleSpec):
    """From the peak to `final` along half a cosine (Loshchilov & Hutter, arXiv:1608.03983)."""

    final: float = Field(0.0, ge=0, le=1)
    """Fraction of the peak that is left at the end."""

    def scale(self, progress: float, epoch: int) -> float:
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))
