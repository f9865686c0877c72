"""Word error rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.evaluation.metrics._edits import ErrorRate

if TYPE_CHECKING:
    from collections.abc import Sequence


class WordErrorRate(ErrorRate):
    """Words put in, left out or changed, divided by the words that were said; may exceed 1."""

    def units(self, text: str) -> Sequence[str]:
        return text.split()
