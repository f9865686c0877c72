"""Matrices as products of thinner ones."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from modelscale.pruning.kinds._retrained import Retrained
from modelscale.pruning.section import Target
from modelscale.spec.base import clash


class LowRank(Retrained):
    """Replaces linear layers and convolutions by two thinner ones, from the singular values.

    (Denton et al., arXiv:1404.0736; Jaderberg et al., arXiv:1405.3866.) A layer is replaced
    only where that makes it cheaper.
    """

    target: Target | None = None
    """How small or fast; half the MACs where neither this nor `energy` is given."""

    energy: float | None = Field(None, gt=0, le=1)
    """In place of `target`: share of the squared singular values that every layer keeps."""

    align: int = Field(4, ge=1)
    """Ranks are multiples of this."""

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if self.target is not None and self.energy is not None:
            raise clash("'target' and 'energy' exclude each other", "target", "energy")
        if self.target is not None and self.target.measure == "latency":
            raise ValueError("low_rank aims at macs, parameters or bytes, not at latency")
        return self
