"""The loss family."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from modelscale.components import Component
from modelscale.tensors import Inputs, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelscale.losses.modules.pretext import Draw


class Compared(NamedTuple):
    """How a chosen item is compared with others.

    Attributes:
        negatives: How many others.
        popular: Whether they are drawn as often as they were chosen; else all alike.
        corrected: Whether scores are corrected by the logarithm of how often items are drawn.
    """

    negatives: int
    popular: bool
    corrected: bool


class LossSpec(Component):
    """A loss of each example by itself, so that one call serves all replicas of a cohort."""

    task: ClassVar[Task]
    """The task that the loss is for."""

    reconstructs: ClassVar[bool] = False
    """Whether it is for networks that make their input again, whatever the label."""

    def outputs(self, targets: int) -> int:
        """Return how many network outputs O serve `targets` classes or target values."""
        return targets

    def pretext(self, network: nn.Module, inputs: Inputs, draw: Draw) -> nn.Module:
        """Return what is trained under this loss: in pre-training, the network within a game.

        Args:
            network: As its spec builds it, after all edits.
            inputs: What one example looks like.
            draw: Draws the numbers that are each replica's own.

        Raises:
            ValueError: If the loss is for other inputs.
        """
        return network

    def resolved(self, class_counts: tuple[int, ...]) -> Self:
        """Return the loss with everything that depends on the training data written out.

        Args:
            class_counts: Training examples of each class; empty for regression.

        Raises:
            ValueError: If the loss cannot be used with that many classes.
        """
        return self

    def compared(self) -> Compared | None:
        """Return how a chosen item is compared with others; None where examples stand alone.

        Where it is, `per_example` gets the scores (N, 1 + negatives), the chosen item's first.
        """
        return None

    @abstractmethod
    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        """Return the loss of each example, (N,) float32.

        Args:
            outputs_NO: (N, O) float32, as the network gives them.
            targets_N: (N,) int64 class indices, or (N, T) float32 target values.
        """

    def mean(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        """Return the mean of `per_example`, (); a loss may have a shorter way to it."""
        return self.over(self.per_example(outputs_NO, targets_N))

    def slopes(self, outputs_NO: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return `per_example` and its gradient by the outputs, (N, O).

        None where nothing is written down that is shorter than differentiating.
        """
        return None

    def over(self, losses_KN: Tensor) -> Tensor:
        """Return the mean over a batch or part, (…) of (…, N); a loss may leave some out."""
        return losses_KN.mean(-1)

    @abstractmethod
    def predictions(self, outputs_NO: Tensor) -> Tensor:
        """Return class probabilities (…, N, C), or target values (…, N, T)."""

    def quick_predictions(self, outputs_NO: Tensor) -> Tensor:
        """Return predictions that are good enough to follow a training by."""
        return self.predictions(outputs_NO)
