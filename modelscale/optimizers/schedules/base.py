"""The learning-rate schedule family."""

from abc import abstractmethod

from pydantic import Field

from modelscale.components import Component


class ScheduleSpec(Component):
    """The learning rate of each step as a fraction of its peak."""

    warmup: float = Field(0.0, ge=0, lt=1)
    """Fraction of all steps over which the rate rises linearly from 0; multiplies the rest."""

    @abstractmethod
    def scale(self, progress: float, epoch: int) -> float:
        """Return the factor on the peak learning rate, without the warm-up.

        Args:
            progress: Fraction of all steps that are done, in [0, 1).
            epoch: Passes over the training part that are done, 0 during the first.
        """

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """Return the factor on the peak learning rate, in [0, 1].

        Args:
            step: 1 at the first step, `total_steps` at the last.
            total_steps: Steps of the whole training.
            steps_per_epoch: Steps of one pass over the training part.
        """
        ramp_steps = max(1.0, self.warmup * total_steps)
        scale = self.scale((step - 1) / total_steps, (step - 1) // steps_per_epoch)
        return min(1.0, step / ramp_steps) * scale
