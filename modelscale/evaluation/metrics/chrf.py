"""chrF."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from modelscale.evaluation.metrics._translations import TextMetric

if TYPE_CHECKING:
    from torch import Tensor

_ORDERS = 6
_RECALL = 2.0**2  # recall counts twice as much as precision: chrF2


class Chrf(TextMetric):
    """chrF2 of all texts together, from 0 to 100: letters in a row that agree, without blanks.

    (Popović, WMT 2015.) The mean over 1 to 6 letters of precision and recall, recall counting
    twice; orders that no text is long enough for are left out.
    """

    def counts(self, written: str, wanted: str) -> tuple[float, ...]:
        """Return, of each order, n-grams written, wanted and matched."""
        texts = ["".join(text.split()) for text in (written, wanted)]
        found: list[float] = []
        for order in range(1, _ORDERS + 1):
            own, true = (Counter(_grams(text, order)) for text in texts)
            # A text too short to have wanted any counts none, as in sacrebleu.
            found += [own.total() if true else 0, true.total(), (own & true).total()]
        return tuple(found)

    def of_sums(self, sums_S: Tensor) -> Tensor:
        import torch

        written, wanted, matched = sums_S.unflatten(-1, (_ORDERS, 3)).unbind(-1)
        counted = ((written > 0) & (wanted > 0)).double()
        orders = counted.sum(-1).clamp(min=1)
        precision = (matched / written.clamp(min=1) * counted).sum(-1) / orders
        recall = (matched / wanted.clamp(min=1) * counted).sum(-1) / orders
        bottom = _RECALL * precision + recall
        score = 100 * (1 + _RECALL) * precision * recall / bottom
        return torch.where(bottom > 0, score, torch.zeros_like(bottom))


def _grams(text: str, order: int) -> list[str]:
    return [text[i : i + order] for i in range(len(text) - order + 1)]
