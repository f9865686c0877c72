"""A constant learning rate."""

from modelscale.optimizers.schedules.base import ScheduleSpec


class Constant(ScheduleSpec):
    """The peak rate all the time, after the warm-up if there is one."""

    def scale(self, progress: float, epoch: int) -> float:
        return 1.0
