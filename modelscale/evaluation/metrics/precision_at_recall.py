"""Precision at a recall."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.evaluation.metrics._ranking import Ranking, one_against_rest
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor

_USUAL = 0.8


class PrecisionAtRecall(MetricSpec):
    """Share of right alarms where enough of a class is found.

    The best precision over all thresholds whose recall is at least `recall`; there is no
    interpolation between thresholds. For two classes, that of the second; for more, the mean of
    each class against the rest, over the classes that have examples.
    """

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    recall: float = Field(_USUAL, gt=0, le=1)
    """Share of the class that is to be found."""

    def label(self) -> str:
        kind = self.own_kind()
        return kind if self.recall == _USUAL else f"{kind}_{self.recall:g}"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return one_against_rest(self._best_precision, predictions, targets)

    def _best_precision(self, ranking: Ranking) -> Tensor:
        """Return the precision at the best threshold that finds enough; NaN if undefined."""
        from torch.nn import functional as F

        found_N = ranking.positive_N.cumsum(-1).gather(-1, ranking.last_N)
        precision_N = found_N.double() / (ranking.last_N + 1)
        positives = ranking.positive_N.sum(-1)
        # Counts against a rounded-up bound: exact where a share of the class is whole.
        wanted = (positives.double() * self.recall - 1e-9).ceil()
        kept_N = found_N.double() >= wanted.unsqueeze(-1)
        best = F.pad(precision_N.masked_fill(~kept_N, 0), (1, 0)).amax(-1)  # without examples 0
        return best.masked_fill(positives == 0, float("nan"))
