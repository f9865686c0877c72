"""Bayesian optimisation with a Gaussian process."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.errors import missing_extra
from modelscale.tuning.samplers.base import Asker, SamplerSpec

if TYPE_CHECKING:
    from modelscale.tuning.history import History


class Gp(SamplerSpec):
    """Fits a Gaussian process to all trials and proposes where it expects to gain most.

    (As Optuna builds it: Matérn 5/2 with a length scale for each key, log expected improvement,
    of the hypervolume for several objectives, times the probability of being feasible.) In a
    batch each proposal takes those before it as running: the acquisition is then that of the
    whole batch (qLogEI; Ament et al., arXiv:2310.20708), found greedily, one trial after
    another. Conditional keys are drawn at random. About a second a proposal: for trials that
    take longer.
    """

    learns: ClassVar[bool] = True

    startup_trials: int = Field(10, ge=1)
    """Random trials before it learns."""

    noisy: bool = True
    """Whether two equal trials may come out differently; otherwise the fit goes through all of
    them."""

    def begin(self, history: History) -> Asker:
        if find_spec("scipy") is None:
            raise missing_extra("scipy", "tuning", "the sampler gp")
        from optuna.samplers import GPSampler

        from modelscale.tuning.optuna_study import StudyAsker

        return StudyAsker(
            history,
            lambda seed: GPSampler(
                n_startup_trials=self.startup_trials,
                deterministic_objective=not self.noisy,
                warn_independent_sampling=False,
                seed=seed,
            ),
            self.startup_trials,
        )

    def blind_until(self, asked: int) -> int:
        return max(asked, self.startup_trials)
