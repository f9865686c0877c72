"""Perplexity."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._nats import mean_nats
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Perplexity(MetricSpec):
    """exp of the mean nats a symbol: among how many equally likely symbols a model wavers."""

    task: ClassVar[Task] = "language_model"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return mean_nats(predictions, targets).exp()
