"""Mean squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class MeanSquaredError(LossSpec):
    """Square of the error, averaged over the target values of an example."""

    task: ClassVar[Task] = "regression"

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        return (outputs_NO - targets_N).square().mean(-1)

    def slopes(self, outputs_NO: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor] | None:
        errors_NO = outputs_NO - targets_N
        return errors_NO.square().mean(-1), errors_NO.mul_(2 / errors_NO.shape[1])

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        return outputs_NO
