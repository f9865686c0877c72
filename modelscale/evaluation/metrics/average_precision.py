"""Average precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._ranking import Ranking, one_against_rest
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class AveragePrecision(MetricSpec):
    """Area under the precision-recall curve, as a sum of steps without interpolation.

    For two classes, that of the second; for more, the mean of each class against the rest,
    over the classes that have examples.
    """

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return one_against_rest(_steps, predictions, targets)


def _steps(ranking: Ranking) -> Tensor:
    """Return the mean, over the examples of the class, of the precision at their score."""
    # Whole numbers: CUDA has no deterministic running sum of others.
    found_N = ranking.positive_N.cumsum(-1).gather(-1, ranking.last_N)
    precision_N = found_N.double() / (ranking.last_N + 1)
    return (precision_N * ranking.positive_N).sum(-1) / ranking.positive_N.sum(-1)
