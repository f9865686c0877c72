"""A learning rate that falls in steps."""

from pydantic import Field

from modelscale.optimizers.schedules.base import ScheduleSpec


class Step(ScheduleSpec):
    """The rate is multiplied by `gamma` after every `every` epochs."""

    every: int = Field(10, ge=1)
    """Epochs between two falls."""

    gamma: float = Field(0.1, gt=0, le=1)
    """Factor of each fall."""

    def scale(self, progress: float, epoch: int) -> float:
        return float(self.gamma ** (epoch // self.every))
