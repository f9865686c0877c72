"""Discounted gain of ranked lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Ndcg(MetricSpec):
    """Mean gain 1 / log2(place + 1) of chosen items among the first k of their user's list.

    Each row counts by itself, so that this is NDCG where a user has one row, as in
    `split: last` (He et al., arXiv:1708.05031). `evaluate.ranking` has NDCG over all rows of a
    user.
    """

    task: ClassVar[Task] = "ranking"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    k: int = Field(10, ge=1)
    """Length of the list."""

    def label(self) -> str:
        return self.own_kind() if self.k == 10 else f"{self.own_kind()}_{self.k}"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        place = (predictions + 0 * targets)[..., 0].double()
        return ((place <= self.k) / (place + 1).log2()).mean(-1)
