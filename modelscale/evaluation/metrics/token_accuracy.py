"""Share of symbols foreseen."""

from __future__ import annotations

from typing import ClassVar, Literal

from modelscale.evaluation.metrics._translations import ForcedMetric


class TokenAccuracy(ForcedMetric):
    """Share of the symbols of true translations that had the largest score, those before known.

    The end of a text is a symbol too.
    """

    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"
    column: ClassVar[int] = 1
