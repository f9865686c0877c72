"""Cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from modelscale.losses._class_weights import ClassWeights, as_tensor, resolve
from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


LONG_ROW = 16
"""Numbers in the widest vector of a CPU."""


class CrossEntropy(LossSpec):
    """Negative log-probability of the true class; one output for each class.

    With class weights the loss of a batch is the mean of the weighted losses of its examples;
    torch's CrossEntropyLoss divides by the sum of the weights instead, which lets the scale
    of the gradient depend on the batch.
    """

    task: ClassVar[Task] = "classification"

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread evenly over all classes (Szegedy et al.,
    arXiv:1512.00567)."""

    class_weights: ClassWeights = "none"
    """Factor on the loss of each class: `none`, `balanced`, or a number for each class."""

    def resolved(self, class_counts: tuple[int, ...]) -> Self:
        weights = resolve(self.class_weights, class_counts)
        return self.model_copy(update={"class_weights": weights})

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        from torch.nn import functional as F

        return F.cross_entropy(
            outputs_NO,
            targets_N,
            weight=as_tensor(self.class_weights, outputs_NO.device),
            label_smoothing=self.label_smoothing,
            reduction="none",
        )

    def mean(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        from torch.nn import functional as F

        if as_tensor(self.class_weights, outputs_NO.device) is not None:
            return self.per_example(outputs_NO, targets_N).mean()
        return F.cross_entropy(outputs_NO, targets_N, label_smoothing=self.label_smoothing)

    def slopes(self, outputs_NO: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor] | None:
        from torch.nn import functional as F

        if self.class_weights != "none" or self.label_smoothing:
            return None
        log_p_NO = _log_softmax(outputs_NO)
        losses_N = F.nll_loss(log_p_NO, targets_N, reduction="none")
        slopes_NO = log_p_NO.exp_()  # p - y, where y is 1 for the true class
        rows = targets_N.unsqueeze(1)
        return losses_N, slopes_NO.scatter_add_(1, rows, slopes_NO.new_full(rows.shape, -1.0))

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        return outputs_NO.softmax(-1)


def _log_softmax(outputs_NO: Tensor) -> Tensor:
    """Return log-probabilities (N, O).

    Torch's kernel takes vectors along a row: on a CPU rows shorter than one are taken number by
    number, and turning them round first is up to five times faster.
    """
    if outputs_NO.device.type == "cpu" and 2 < outputs_NO.shape[1] < LONG_ROW:
        return outputs_NO.T.contiguous().log_softmax(0).T.contiguous()
    return outputs_NO.log_softmax(-1)
