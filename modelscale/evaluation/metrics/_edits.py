"""Edits between what is written and what was said: the distance of Levenshtein."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def text_of(codes: Sequence[float]) -> str:
    """Return the text of code points; zeros are no letters."""
    return "".join(chr(int(code)) for code in codes if code).strip()


class ErrorRate(MetricSpec):
    """Edits divided by what was said, both summed over all recordings.

    Predictions (…, N, P) and targets (…, N, L) are texts as code points.
    """

    task: ClassVar[Task] = "transcription"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"

    @abstractmethod
    def units(self, text: str) -> Sequence[str]:
        """Return what counts as one each in a text."""

    def sums(self, predictions: Tensor, targets: Tensor) -> Tensor:
        import torch

        leading = torch.broadcast_shapes(predictions.shape[:-1], targets.shape[:-1])
        written = self._units_of(predictions.expand(*leading, -1))
        said = self._units_of(targets.expand(*leading, -1))
        known: dict[tuple[Sequence[str], Sequence[str]], int] = {}
        edits = []
        for pair in zip(written, said, strict=True):
            if pair not in known:
                known[pair] = distance(*pair)
            edits.append(known[pair])
        sizes = [len(units) for units in said]
        both = torch.tensor([edits, sizes], dtype=torch.float64, device=targets.device)
        return both.T.reshape(*leading, 2)

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return self.of_sums(self.sums(predictions, targets).sum(-2))

    def _units_of(self, codes: Tensor) -> list[tuple[str, ...]]:
        rows = codes.long().reshape(-1, codes.shape[-1]).tolist()
        return [tuple(self.units(text_of(row))) for row in rows]


def distance(written: Sequence[str], said: Sequence[str]) -> int:
    """Return the fewest units to put in, leave out or change that make one the other."""
    row = list(range(len(said) + 1))
    for i, unit in enumerate(written, 1):
        diagonal, row[0] = row[0], i
        for j, wanted in enumerate(said, 1):
            change = diagonal + (unit != wanted)
            diagonal = row[j]
            row[j] = min(change, row[j] + 1, row[j - 1] + 1)
    return row[-1]
