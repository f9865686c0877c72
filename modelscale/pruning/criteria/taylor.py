"""First-order change of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.pruning.criteria.base import CriterionSpec

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.pruning.evidence import Evidence
    from modelscale.pruning.graph.units import Group


class Taylor(CriterionSpec):
    """How much the loss would change to first order (Molchanov et al., arXiv:1906.10771).

    The sum of gradient × weight over what makes a unit, squared, mean over training batches.
    """

    def unit_scores(self, group: Group, evidence: Evidence) -> Tensor:
        import torch

        total = torch.zeros(group.units)
        batches = evidence.gradients()
        for gradients in batches:
            total += evidence.summed(
                group, _product(gradients), (*group.makers,), vectors=True
            ).square()
        return total / len(batches)

    def weight_scores(self, tensor: str, evidence: Evidence) -> Tensor:
        weight = evidence.tensors[tensor].detach()
        squares = [(g[tensor] * weight).square() for g in evidence.gradients()]
        return sum(squares[1:], squares[0]) / len(squares)


def _product(gradients: dict[str, Tensor]):  # type: ignore[no-untyped-def]
    return lambda name, weight: gradients[name] * weight
