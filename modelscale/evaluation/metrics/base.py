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

    binary_only: ClassVar[bool] = False
    """Whether the metric needs exactly two classes."""

    def label(self) -> str:
        """Return the name under which the metric is reported, such as `accuracy`."""
        return self.own_kind()

    @abstractmethod
    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return the metric, of shape (…); NaN where it is not defined.

        Args:
            predictions: (…, N, C) class probabilities, or (…, N, T) target values.
            targets: (…, N) int64 class indices, or (…, N, T) target values; leading
                dimensions broadcast against those of the predictions.
        """
