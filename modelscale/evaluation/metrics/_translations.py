"""What metrics of translations have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._edits import text_of
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor

FORCED = 2
"""Predictions are the nats of the true translation, how many of its symbols were foreseen, and
then the letters of what was written, as code points; targets the number of symbols and the
letters of what was to be written."""


class ForcedMetric(MetricSpec):
    """A metric of what a network thinks of the true translations, symbol by symbol."""

    task: ClassVar[Task] = "translation"
    column: ClassVar[int]
    """Which number of a prediction is summed and divided by the number of symbols."""

    def sums(self, predictions: Tensor, targets: Tensor) -> Tensor:
        import torch

        known = predictions[..., self.column].double()
        return torch.stack(torch.broadcast_tensors(known, targets[..., 0].double()), -1)

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return self.of_sums(self.sums(predictions, targets).sum(-2))


class TextMetric(MetricSpec):
    """A metric of texts that a network wrote by itself, which takes time."""

    task: ClassVar[Task] = "translation"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"
    during_training: ClassVar[bool] = False

    @property
    def possible(self) -> tuple[float, float]:
        return (0.0, 100.0)

    @abstractmethod
    def counts(self, written: str, wanted: str) -> tuple[float, ...]:
        """Return what is summed of one text."""

    def sums(self, predictions: Tensor, targets: Tensor) -> Tensor:
        import torch

        leading = torch.broadcast_shapes(predictions.shape[:-1], targets.shape[:-1])
        written = _texts(predictions[..., FORCED:].expand(*leading, -1))
        wanted = _texts(targets[..., 1:].expand(*leading, -1))
        known: dict[tuple[str, str], tuple[float, ...]] = {}
        for pair in zip(written, wanted, strict=True):
            if pair not in known:
                known[pair] = self.counts(*pair)
        found = [known[pair] for pair in zip(written, wanted, strict=True)]
        counts = torch.tensor(found, dtype=torch.float64, device=targets.device)
        return counts.reshape(*leading, -1)

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return self.of_sums(self.sums(predictions, targets).sum(-2))


def _texts(codes: Tensor) -> list[str]:
    return [text_of(row) for row in codes.long().flatten(0, -2).tolist()]
