"""The metric family."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.components import Component
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class MetricSpec(Component):
    """A number that says how well predictions fit targets.

    Written with broadcasting over any leading dimensions, so that one call serves all
    replicas of a cohort and all resamples of a bootstrap.
    """

    task: ClassVar[Task]
    """The task that the metric is for."""

    direction: ClassVar[Literal["maximize", "minimize"]]
    """Which way is better."""

    @property
    def binary_only(self) -> bool:
        """Whether the metric needs exactly two classes."""
        return False

    @property
    def proportion(self) -> bool:
        """Whether the metric is the share of examples that are right, each for itself."""
        return False

    def ratio(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return (…, N) float64 dividends and divisors of examples, if the metric is of sums.

        Resampling then draws these numbers rather than predictions.
        """
        return None

    def check(self, classes: int) -> None:
        """Raise ValueError where the metric cannot be of that many classes."""
        if self.binary_only and classes != 2:
            raise ValueError(f"{self.label()} needs two classes, and there are {classes}")

    def label(self) -> str:
        """Return the name under which the metric is reported, such as `accuracy`."""
        return self.own_kind()

    @abstractmethod
    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return the metric, (…) float64; NaN where it is not defined.

        Args:
            predictions: (…, N, C) class probabilities, or (…, N, T) target values.
            targets: (…, N) int64 class indices, or (…, N, T) target values; leading
                dimensions broadcast against those of the predictions.
        """
