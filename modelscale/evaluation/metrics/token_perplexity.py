"""Perplexity of translations."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.evaluation.metrics._translations import ForcedMetric

if TYPE_CHECKING:
    from torch import Tensor


class TokenPerplexity(ForcedMetric):
    """exp of the mean nats of the symbols of true translations, those before known."""

    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"
    column: ClassVar[int] = 0

    def of_sums(self, sums_S: Tensor) -> Tensor:
        return (sums_S[..., 0] / sums_S[..., 1]).exp()
