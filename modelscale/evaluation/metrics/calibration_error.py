"""Expected calibration error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.evaluation.metrics._classes import (
    confidence_bins,
    predicted_classes,
    undefined_where,
)
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class CalibrationError(MetricSpec):
    """Expected calibration error of the predicted class, in equal-width bins.

    The examples are put into bins by the probability of their most probable class; a bin
    holds its upper edge. The error is the mean, over the examples, of the distance between
    the accuracy and the mean probability of their bin (Guo et al., arXiv:1706.04599).
    """

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    bins: int = Field(15, ge=1, le=1000)
    """Bins of equal width from 0 to 1."""

    def label(self) -> str:
        kind = self.own_kind()
        return kind if self.bins == 15 else f"{kind}_{self.bins}"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        import torch

        classes_N, broken_N = predicted_classes(predictions)
        bin_N = confidence_bins(predictions, self.bins)
        surplus_N = predictions.amax(-1).double() - (classes_N == targets).double()
        # A pass for each bin: sums in a fixed order, on every device.
        gap_of_bin = [
            surplus_N.masked_fill(bin_N != b, 0).sum(-1).abs() for b in range(self.bins)
        ]
        error = torch.stack(gap_of_bin).sum(0) / surplus_N.shape[-1]
        return undefined_where(broken_N, error)
