"""Area under the ROC curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._ranking import Ranking, one_against_rest
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class RocAuc(MetricSpec):
    """Area under the receiver operating characteristic curve.

    The chance that an example of the class scores higher than one of another class, ties
    counting half. For two classes, that of the second; for more, the mean of each class
    against the rest, over the classes that have examples.
    """

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return one_against_rest(_area, predictions, targets)


def _area(ranking: Ranking) -> Tensor:
    """Return the Mann-Whitney statistic as a share of all pairs; NaN without any pair."""
    N = ranking.positive_N.shape[-1]
    positives = ranking.positive_N.sum(-1).double()
    # Ranks from the lowest score, 1 … N; equal scores share the mean of their ranks.
    rank_N = N - (ranking.first_N + ranking.last_N).double() / 2
    above = (rank_N * ranking.positive_N).sum(-1) - positives * (positives + 1) / 2
    return above / (positives * (N - positives))
