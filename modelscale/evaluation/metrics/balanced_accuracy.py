"""Balanced accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._classes import (
    class_counts,
    mean_where,
    ratio,
    undefined_where,
)
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class BalancedAccuracy(MetricSpec):
    """Mean recall of the classes that have examples: accuracy as if all were as frequent."""

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        hits_C, _, true_C, broken_N = class_counts(predictions, targets)
        return undefined_where(broken_N, mean_where(true_C > 0, ratio(hits_C, true_C)))
