"""Chance: the baseline that others must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.pruning.criteria.base import CriterionSpec
from modelscale.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.pruning.evidence import Evidence
    from modelscale.pruning.graph.units import Group


class Random(CriterionSpec):
    """Uniform random scores, from the run's seed: the control of any other criterion."""

    def unit_scores(self, group: Group, evidence: Evidence) -> Tensor:
        import torch

        draws = torch.Generator().manual_seed(derive(evidence.seed, "units", group.name))
        return torch.rand(group.units, generator=draws)

    def weight_scores(self, tensor: str, evidence: Evidence) -> Tensor:
        import torch

        draws = torch.Generator().manual_seed(derive(evidence.seed, "weights", tensor))
        return torch.rand(evidence.tensors[tensor].shape, generator=draws)
