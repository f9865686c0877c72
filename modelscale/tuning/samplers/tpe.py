"""The tree-structured Parzen estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.tuning.samplers.base import SamplerSpec

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Tpe(SamplerSpec):
    """Proposes where good trials are dense and bad ones are not.

    (Bergstra et al., NeurIPS 2011; as Optuna builds it, all parameters together, with running
    trials counted as bad ones, so that a batch does not propose one point over and over.)
    """

    learns: ClassVar[bool] = True

    startup_trials: int = Field(10, ge=1)
    """Random trials before it learns."""

    candidates: int = Field(24, ge=1)
    """Points among which each proposal is the most promising."""

    def build(self, seed: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(
            n_startup_trials=self.startup_trials,
            n_ei_candidates=self.candidates,
            multivariate=True,
            constant_liar=True,
            seed=seed,
        )
