"""Hit rate of ranked lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class HitRate(MetricSpec):
    """Share of chosen items that are among the first k of their user's list."""

    task: ClassVar[Task] = "ranking"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"

    k: int = Field(10, ge=1)
    """Length of the list."""

    def label(self) -> str:
        return self.own_kind() if self.k == 10 else f"{self.own_kind()}_{self.k}"

    def compute(self, predictions: Tensor, targets: Tensor) -> Tensor:
        place = (predictions + 0 * targets)[..., 0].double()
        return (place <= self.k).double().mean(-1)
