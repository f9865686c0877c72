"""F1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.evaluation.metrics._averages import AveragedMetric
from modelscale.evaluation.metrics._classes import ratio

if TYPE_CHECKING:
    from torch import Tensor


class F1(AveragedMetric):
    """Harmonic mean of precision and recall."""

    @classmethod
    def score(cls, hits: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        return ratio(2 * hits, predicted + true)
