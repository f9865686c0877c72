"""How per-class scores become one number: the `average` of precision, recall and F1."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._classes import (
    ClassCounts,
    class_counts,
    mean_where,
    ratio,
    undefined_where,
)
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class AveragedMetric(MetricSpec):
    """A score of each class, 0 where it is 0/0, averaged over the classes."""

    task: ClassVar[Task] = "classification"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    average: Literal["macro", "micro", "weighted", "binary"] = "macro"
    """`macro` counts classes alike (those that occur among targets or predictions), `weighted`
    counts them by their number of examples, `micro` pools all examples (which makes it the
    accuracy), `binary` looks at the second of two classes alone."""

    @property
    def binary_only(self) -> bool:
        return self.average == "binary"

    @property
    def proportion(self) -> bool:
        return self.average == "micro"  # of one label an example, so it is the accuracy

    def label(self) -> str:
        kind = self.own_kind()
        return kind if self.average == "macro" else f"{kind}_{self.average}"

    @classmethod
    @abstractmethod
    def score(cls, hits: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        """Return the score of counts, elementwise."""

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        counts = class_counts(predictions, targets)
        defined = self._reduce(counts).masked_fill(counts.true_C.sum(-1) == 0, float("nan"))
        return undefined_where(counts.broken_N, defined)

    def _reduce(self, counts: ClassCounts) -> Tensor:
        hits_C, predicted_C, true_C, _ = counts
        if self.average == "micro":
            return self.score(hits_C.sum(-1), predicted_C.sum(-1), true_C.sum(-1))
        scores_C = self.score(hits_C, predicted_C, true_C)
        if self.average == "macro":
            return mean_where(predicted_C + true_C > 0, scores_C)
        if self.average == "weighted":
            return ratio((scores_C * true_C).sum(-1), true_C.sum(-1))
        if scores_C.shape[-1] != 2:
            raise ValueError(
                f"{self.own_kind()}: average 'binary' needs two classes, got "
                f"{scores_C.shape[-1]}; use 'macro', 'micro' or 'weighted'"
            )
        return scores_C[..., 1]
