"""The learning-rate schedule family."""

from abc import abstractmethod

from modelscale.components import Component


class ScheduleSpec(Component):
    """The learning rate of each step as a fraction of its peak."""

    @abstractmethod
    def scale(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """Return the factor on the peak learning rate.

        Args:
            step: 1 at the first step, `total_steps` at the last.
            total_steps: Steps of the whole training.
            steps_per_epoch: Steps of one pass over the training part.
        """
