"""Scale of the batch norm behind a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.pruning.criteria.base import CriterionSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.pruning.evidence import Evidence
    from modelscale.pruning.graph.units import Group


class BatchNormScale(CriterionSpec):
    """A channel that its batch norm scales down matters little (Liu et al., arXiv:1708.06519).

    Sum of |scale| over the batch norms that a channel passes through. Units without any, such
    as attention heads, are scored by magnitude.
    """

    def unit_scores(self, group: Group, evidence: Evidence) -> Tensor:
        norms = evidence.batch_norms(group)
        if not norms:
            return evidence.summed(group, lambda _, weight: weight.square()).sqrt()
        return evidence.summed(group, lambda _, weight: weight.abs(), norms, vectors=True)

    def check(self, evidence: Evidence) -> None:
        if not any(evidence.batch_norms(group) for group in evidence.groups):
            raise ValueError(
                "batch_norm_scale needs a network with batch norm; take magnitude or taylor"
            )
