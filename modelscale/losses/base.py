"""The loss family."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from modelscale.components import Component
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class LossSpec(Component):
    """A loss of each example by itself, so that one call serves all replicas of a cohort."""

    task: ClassVar[Task]
    """The task that the loss is for."""

    def outputs(self, targets: int) -> int:
        """Return how many network outputs O serve `targets` classes or target values."""
        return targets

    def resolved(self, class_counts: tuple[int, ...]) -> Self:
        """Return the loss with everything that depends on the training data written out.

        Args:
            class_counts: Training examples of each class; empty for regression.

        Raises:
            ValueError: If the loss cannot be used with that many classes.
        """
        return self

    @abstractmethod
    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        """Return the loss of each example, (N,) float32.

        Args:
            outputs_NO: (N, O) float32, as the network gives them.
            targets_N: (N,) int64 class indices, or (N, T) float32 target values.
        """

    def mean(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        """Return the mean of `per_example`, (); a loss may have a shorter way to it."""
        return self.per_example(outputs_NO, targets_N).mean()

    @abstractmethod
    def predictions(self, outputs_NO: Tensor) -> Tensor:
        """Return class probabilities (…, N, C), or target values (…, N, T)."""

    def quick_predictions(self, outputs_NO: Tensor) -> Tensor:
        """Return predictions that are good enough to follow a training by."""
        return self.predictions(outputs_NO)
