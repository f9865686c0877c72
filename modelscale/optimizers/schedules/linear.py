"""A learning rate that falls along a line."""

from pydantic import Field

from modelscale.optimizers.schedules.base import ScheduleSpec


class Linear(ScheduleSpec):
    """From the peak to `final` along a line."""

    final: float = Field(0.0, ge=0, le=1)
    """Fraction of the peak that is left at the end."""

    def scale(self, progress: float, epoch: int) -> float:
        return 1 - (1 - self.final) * progress
