"""Brier score."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._classes import of_true_class
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Brier(MetricSpec):
    """Mean squared distance between the probabilities and the truth (1 for the right class).

    For two classes it is that of the second class alone, from 0 to 1; for more it is the sum
    over the classes, from 0 to 2 (Brier, 1950).
    """

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        right_N = of_true_class(predictions, targets).double()
        # Σ_c (p_c - [c is right])² without a second array as large as the predictions.
        squares_N = predictions.double().square().sum(-1)
        distance = (squares_N - 2 * right_N + 1).mean(-1)
        return distance / 2 if predictions.shape[-1] == 2 else distance
