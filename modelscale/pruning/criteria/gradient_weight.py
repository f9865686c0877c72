"""Gradient times weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.pruning.criteria.base import CriterionSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.pruning.evidence import Evidence
    from modelscale.pruning.graph.units import Group


class GradientWeight(CriterionSpec):
    """Absolute value of mean gradient × weight (SNIP; Lee et al., arXiv:1810.02340).

    Summed over all weights that make or read a unit.
    """

    def unit_scores(self, group: Group, evidence: Evidence) -> Tensor:
        mean = evidence.mean_gradient()
        return evidence.summed(group, lambda name, weight: (mean[name] * weight).abs())

    def weight_scores(self, tensor: str, evidence: Evidence) -> Tensor:
        return (evidence.mean_gradient()[tensor] * evidence.tensors[tensor].detach()).abs()
