"""Share of targets that a quantile holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Coverage(MetricSpec):
    """Share of target values that are at most the prediction.

    For the loss `quantile` it should be near the loss's `level`; an interval between two
    quantiles holds the difference of their coverages. More is not better in itself.
    """

    task: ClassVar[Task] = "regression"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    def sums(self, predictions: Tensor, targets: Tensor) -> Tensor:
        import torch

        predicted, true = torch.broadcast_tensors(predictions.double(), targets.double())
        held = torch.where(predicted.isnan(), predicted, (true <= predicted).double())
        return torch.stack([held.sum(-1), torch.ones_like(held).sum(-1)], -1)

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return self.of_sums(self.sums(predictions, targets).sum(-2))
