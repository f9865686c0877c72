"""The tree-structured Parzen estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.tuning.samplers.base import Asker, SamplerSpec

if TYPE_CHECKING:
    from modelscale.tuning.history import History


class Tpe(SamplerSpec):
    """Proposes where good trials are dense and bad ones are not.

    (Bergstra et al., NeurIPS 2011; as Optuna builds it, all parameters together, conditional
    ones in groups, with running trials counted as bad ones, so that a batch does not propose
    one point over and over.) Stopped trials count by the epoch they reached.
    """

    learns: ClassVar[bool] = True

    startup_trials: int = Field(10, ge=1)
    """Random trials before it learns."""

    candidates: int = Field(24, ge=1)
    """Points among which each proposal is the most promising."""

    def begin(self, history: History) -> Asker:
        from optuna.samplers import TPESampler

        from modelscale.tuning.optuna_study import StudyAsker

        return StudyAsker(
            history,
            lambda seed: TPESampler(
                n_startup_trials=self.startup_trials,
                n_ei_candidates=self.candidates,
                multivariate=True,
                group=history.space.is_conditional(),
                constant_liar=True,
                seed=seed,
            ),
            self.startup_trials,
            ranks_stopped=True,
        )

    def blind_until(self, asked: int) -> int:
        return max(asked, self.startup_trials)
