"""Mean absolute error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class MeanAbsoluteError(LossSpec):
    """Size of the error, averaged over the target values of an example.

    Its best prediction is the median, so that outliers weigh little.
    """

    task: ClassVar[Task] = "regression"

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        return (outputs_NO - targets_N).abs().mean(-1)

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        return outputs_NO
