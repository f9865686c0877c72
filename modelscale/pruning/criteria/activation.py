"""Weights times the activations that they meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.pruning.criteria.base import CriterionSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.pruning.evidence import Evidence
    from modelscale.pruning.graph.units import Group


class Activation(CriterionSpec):
    """|weight| times the norm of what it reads, on training examples (Wanda; arXiv:2306.11695).

    A unit's score is the root of the summed squares over all weights that read it. Weights
    whose layer is neither linear nor a convolution count by their size alone.
    """

    def unit_scores(self, group: Group, evidence: Evidence) -> Tensor:
        members = group.readers or group.members
        return evidence.summed(group, evidence.weighed, members, vectors=True).sqrt()

    def weight_scores(self, tensor: str, evidence: Evidence) -> Tensor:
        return evidence.weighed(tensor, evidence.tensors[tensor].detach()).sqrt()
