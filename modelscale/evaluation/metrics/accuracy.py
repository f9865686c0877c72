"""Accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._classes import predicted_classes, undefined_where
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Accuracy(MetricSpec):
    """Share of the examples whose most probable class is the right one."""

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    @property
    def proportion(self) -> bool:
        return True

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        classes_N, broken_N = predicted_classes(predictions)
        return undefined_where(broken_N, (classes_N == targets).double().mean(-1))
