"""The family of criteria: how much a unit or a weight matters."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from modelscale.components import Component

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.pruning.evidence import Evidence
    from modelscale.pruning.graph.units import Group


class CriterionSpec(Component):
    """What decides which units or weights go: the lowest scores first.

    Scores are compared within one layer, or over layers after each layer's mean was divided
    out. They say nothing more than an order.
    """

    default_kind: ClassVar[str | None] = "magnitude"

    @abstractmethod
    def unit_scores(self, group: Group, evidence: Evidence) -> Tensor:
        """Return (U,) float32 how much each unit of a group matters."""

    def weight_scores(self, tensor: str, evidence: Evidence) -> Tensor:  # noqa: ARG002
        """Return how much each number of a weight matters, in the weight's shape.

        Raises:
            ValueError: If the criterion is about whole units.
        """
        raise ValueError(f"{self.own_kind()} scores whole units, not weights such as {tensor}")

    def check(self, evidence: Evidence) -> None:
        """Raise ValueError where the network has nothing that the criterion could read."""
