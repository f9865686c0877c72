"""Random search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.tuning.samplers.base import SamplerSpec

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Random(SamplerSpec):
    """Every trial is drawn from the whole space (Bergstra & Bengio, JMLR 13, 2012)."""

    def build(self, seed: int) -> BaseSampler:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)
