"""Character error rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.evaluation.metrics._edits import ErrorRate

if TYPE_CHECKING:
    from collections.abc import Sequence


class CharacterErrorRate(ErrorRate):
    """Characters put in, left out or changed, divided by those that were said; blanks count."""

    def units(self, text: str) -> Sequence[str]:
        return text
