"""Distance to the other units of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.pruning.criteria.base import CriterionSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.pruning.evidence import Evidence
    from modelscale.pruning.graph.units import Group


class GeometricMedian(CriterionSpec):
    """Units near the geometric median can be replaced by others (He et al., arXiv:1811.00250).

    Sum of the Euclidean distances of the weights that make a unit to those of all others.
    """

    def unit_scores(self, group: Group, evidence: Evidence) -> Tensor:
        import torch

        rows = evidence.rows(group, group.makers)
        return torch.cdist(rows, rows).sum(dim=1)
