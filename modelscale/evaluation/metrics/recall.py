"""Recall."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.evaluation.metrics._averages import AveragedMetric
from modelscale.evaluation.metrics._classes import ratio

if TYPE_CHECKING:
    from torch import Tensor


class Recall(AveragedMetric):
    """Share of the examples of a class that are predicted as that class."""

    @classmethod
    def score(cls, hits: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        return ratio(hits, true)
