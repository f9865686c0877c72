"""A finished part of a search as an Optuna study in memory, which proposes what comes next.

The study is made for one batch and thrown away: everything that Optuna keeps between trials is
derived again from the trials.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modelscale.seeds import derive
from modelscale.tuning.history import Finished, History
from modelscale.tuning.space import Params, decoded, encoded
from modelscale.tuning.unit_cube import random_point

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

GENERATION = "NSGAIISampler:generation"
"""Where Optuna notes a trial's generation."""


class StudyAsker:
    """Proposals of one of Optuna's samplers.

    Until `startup` trials are usable, trials are random: the same ones as random search's.
    """

    def __init__(
        self,
        history: History,
        sampler: Callable[[int], BaseSampler],
        startup: int,
        *,
        ranks_stopped: bool = False,
        generations_of: int | None = None,
    ) -> None:
        """Make the study.

        Args:
            history: What it knows.
            sampler: Makes Optuna's sampler from a seed.
            startup: Trials before it is asked.
            ranks_stopped: Whether the sampler can place trials that Optuna calls pruned.
                Otherwise they are told as complete with what they had reached, a value that is
                too bad rather than too good.
            generations_of: Trials of a generation, for a sampler with generations.
        """
        self.history, self.ranks_stopped = history, ranks_stopped
        self.generations_of, self.worst = generations_of, history.worst()
        self.study: Study | None = None
        self.last: Trial | None = None
        with _quiet():
            self._tell(sampler, startup)

    def ask(self, number: int, attempt: int, fixed: Params) -> Params:
        """Return what the sampler proposes; what it proposed before counts as running."""
        history = self.history
        if self.study is None:
            return random_point(history.space, history.seed, number, attempt, fixed)
        from optuna.trial import TrialState

        space = history.space
        with _quiet():
            if attempt and self.last is not None:
                self.study.tell(self.last, state=TrialState.FAIL)
            if fixed:
                self.study.enqueue_trial(encoded(fixed, space.ranges))
            self.last = self.study.ask()
            for key, found in space.distributions.items():
                if space.is_active(key, decoded(self.last.params, space.ranges)):
                    _suggest(self.last, key, found)
        return decoded(self.last.params, space.ranges)

    def _tell(self, sampler: Callable[[int], BaseSampler], startup: int) -> None:
        from optuna.trial import TrialState

        usable = (TrialState.COMPLETE, TrialState.PRUNED)
        trials = [self._frozen(trial) for trial in self.history.finished]
        known = [trial for trial in trials if trial.state in usable]
        if len(known) < startup:
            return
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if self.generations_of is not None:
            for index, trial in enumerate(known):
                trial.system_attrs[GENERATION] = index // self.generations_of
        seed = derive(self.history.seed, "sampler", len(trials)) % 2**32
        self.study = optuna.create_study(
            directions=["maximize" if up else "minimize" for up in self.history.maximize],
            sampler=sampler(seed),
        )
        self.study.add_trials(trials)

    def _frozen(self, trial: Finished) -> FrozenTrial:
        from math import isfinite

        from optuna.trial import TrialState, create_trial

        state, values = self._as_told(trial)
        curve = trial.curve if len(self.history.maximize) == 1 else {}
        return create_trial(
            state={
                "complete": TrialState.COMPLETE,
                "pruned": TrialState.PRUNED,
                "failed": TrialState.FAIL,
            }[state],
            values=values,
            params=encoded(trial.params, self.history.space.ranges),
            distributions={key: self.history.space.distributions[key] for key in trial.params},
            intermediate_values={e: v for e, v in curve.items() if isfinite(v)},
            constraints={f"{n:03d}": v for n, v in enumerate(trial.violations)},
        )

    def _as_told(self, trial: Finished) -> tuple[str, tuple[float, ...] | None]:
        """Return how a trial is told, and its values.

        One that diverged, or that was never trained since it would break a bound, is told with
        the worst of all values, lest the sampler come back to its neighbourhood.
        """
        values = trial.measured()
        if trial.state == "complete" and values:
            return "complete", values
        if trial.state == "stopped" and self.ranks_stopped:
            return "pruned", None
        if trial.state == "stopped" and values:
            return "complete", values
        worst = None if trial.state == "failed" else self.worst
        return ("complete", worst) if worst else ("failed", None)


def _suggest(trial: Trial, key: str, found: BaseDistribution) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(found, CategoricalDistribution):
        return trial.suggest_categorical(key, found.choices)
    if isinstance(found, IntDistribution):
        return trial.suggest_int(key, found.low, found.high, step=found.step, log=found.log)
    assert isinstance(found, FloatDistribution)
    return trial.suggest_float(key, found.low, found.high, step=found.step, log=found.log)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out Optuna's warnings about what it calls experimental."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
