"""Matthews correlation coefficient."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._classes import class_counts, ratio, undefined_where
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Mcc(MetricSpec):
    """Matthews correlation coefficient, from -1 to 1, for any number of classes.

    0 where all predictions or all targets are of one class (Gorodkin, Comput. Biol. Chem.
    28, 2004).
    """

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    @property
    def possible(self) -> tuple[float, float]:
        return (-1.0, 1.0)

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        hits_C, predicted_C, true_C, broken_N = class_counts(predictions, targets)
        total = true_C.sum(-1)
        both = hits_C.sum(-1) * total - (predicted_C * true_C).sum(-1)
        of_predicted = total.square() - predicted_C.square().sum(-1)
        of_true = total.square() - true_C.square().sum(-1)
        mcc = ratio(both, of_predicted.sqrt() * of_true.sqrt())
        return undefined_where(broken_N, mcc.masked_fill(total == 0, float("nan")))
