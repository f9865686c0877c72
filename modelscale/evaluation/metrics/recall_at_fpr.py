"""Recall at a false-positive rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.evaluation.metrics._ranking import Ranking, one_against_rest
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor

_USUAL = 0.05


class RecallAtFpr(MetricSpec):
    """Share of a class that is found while few of the other examples raise a false alarm.

    The best recall over all thresholds whose false-positive rate is at most `fpr`; there is no
    interpolation between thresholds. For two classes, that of the second; for more, the mean of
    each class against the rest, over the classes for which it is defined.
    """

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    fpr: float = Field(_USUAL, ge=0, lt=1)
    """Share of the other examples that may be taken for the class."""

    def label(self) -> str:
        kind = self.own_kind()
        return kind if self.fpr == _USUAL else f"{kind}_{self.fpr:g}"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return one_against_rest(self._best_recall, predictions, targets)

    def _best_recall(self, ranking: Ranking) -> Tensor:
        """Return the recall at the lowest threshold that keeps the rate; NaN if undefined."""
        from torch.nn import functional as F

        found_N = ranking.positive_N.cumsum(-1).gather(-1, ranking.last_N)
        alarms_N = ranking.last_N + 1 - found_N
        positives = ranking.positive_N.sum(-1)
        negatives = ranking.positive_N.shape[-1] - positives
        # Counts against a rounded-down bound: exact where a share of the others is whole.
        allowed = (negatives.double() * self.fpr + 1e-9).floor()
        kept_N = alarms_N.double() <= allowed.unsqueeze(-1)
        # A 0 in front, for thresholds that nothing reaches.
        best = F.pad(found_N.masked_fill(~kept_N, 0), (1, 0)).amax(-1).double()
        return (best / positives).masked_fill(negatives == 0, float("nan"))
