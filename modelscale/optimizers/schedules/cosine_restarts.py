"""A learning rate that falls along half a cosine again and again."""

import math

from pydantic import Field

from modelscale.optimizers.schedules.base import ScheduleSpec


class CosineRestarts(ScheduleSpec):
    """Equally long cycles, each from the peak to `final` along half a cosine.

    (Warm restarts of Loshchilov & Hutter, arXiv:1608.03983, with cycles of one length.)
    """

    cycles: int = Field(4, ge=1)
    """Cycles within all steps."""

    final: float = Field(0.0, ge=0, le=1)
    """Fraction of the peak that is left at the end of a cycle."""

    def scale(self, progress: float, epoch: int) -> float:
        within = (progress * self.cycles) % 1.0
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * within))
