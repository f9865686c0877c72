"""The metric family."""

from __future__ import annotations

import math
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

    @property
    def possible(self) -> tuple[float, float]:
        """The least and the greatest value that there can be."""
        return (0.0, 1.0) if self.direction == "maximize" else (0.0, math.inf)

    during_training: ClassVar[bool] = True
    """Whether it is measured after each epoch too; else only when training has ended."""

    def sums(self, predictions: Tensor, targets: Tensor) -> Tensor | None:
        """Return numbers (…, N, S) float64 of each example, if the metric is of their sums.

        Resampling then draws these numbers rather than predictions.
        """
        return None

    def of_sums(self, sums_S: Tensor) -> Tensor:
        """Return the metric (…) of sums (…, S); by default, the first by the second."""
        return sums_S[..., 0] / sums_S[..., 1]

    def require(self) -> None:
        """Raise Unavailable where the metric needs a package that is not installed."""

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
