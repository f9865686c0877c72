"""Size of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from modelscale.pruning.criteria.base import CriterionSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.pruning.evidence import Evidence
    from modelscale.pruning.graph.units import Group


class Magnitude(CriterionSpec):
    """Small weights matter little (Li et al., arXiv:1608.08710; Fang et al., arXiv:2301.12900).

    A unit's score is the norm of all kernels and matrices that make it or read it, in every
    layer that it passes through; norm layers and biases are left out where it has others.
    """

    norm: Literal["l1", "l2"] = "l2"
    """Sum of absolute values, or square root of the sum of squares."""

    def unit_scores(self, group: Group, evidence: Evidence) -> Tensor:
        if self.norm == "l1":
            return evidence.summed(group, lambda _, weight: weight.abs())
        return evidence.summed(group, lambda _, weight: weight.square()).sqrt()

    def weight_scores(self, tensor: str, evidence: Evidence) -> Tensor:
        return evidence.tensors[tensor].detach().abs()
