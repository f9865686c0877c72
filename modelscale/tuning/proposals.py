"""Proposals: what to try next, given all that came out so far.

Optuna's sampler is made anew for every batch, from a seed that follows from the number of the
batch's first trial. So a search that was interrupted proposes what it would have proposed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from modelscale.seeds import derive
from modelscale.tuning.samplers.base import SamplerSpec
from modelscale.tuning.section import SearchRange
from modelscale.tuning.space import Params, decoded, encoded

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Finished:
    """What came out of one trial, as far as the sampler needs it.

    Attributes:
        params: Values by spec key.
        value: The objective; None where there is none.
        state: How it ended.
        curve: The objective by epoch.
    """

    params: Params
    value: float | None
    state: Literal["complete", "stopped", "failed"]
    curve: dict[int, float]


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        ranges: As the spec gives them, by key.
        distributions: As Optuna takes them.
    """

    ranges: dict[str, SearchRange]
    distributions: dict[str, BaseDistribution]


def propose(
    sampler: SamplerSpec,
    space: Space,
    finished: Sequence[Finished],
    count: int,
    seed: int,
    maximize: bool,
) -> list[Params]:
    """Return the next `count` trials' parameters.

    Args:
        sampler: How to propose.
        space: Of what.
        finished: All earlier trials, in order.
        count: Trials to propose at once.
        seed: Of the search; the batch's own seed follows from it and the trials so far.
        maximize: Whether larger values are better.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            direction="maximize" if maximize else "minimize",
            sampler=sampler.build(derive(seed, "sampler", len(finished)) % 2**32),
        )
        study.add_trials([_frozen(trial, space) for trial in finished])
        asked = [study.ask(space.distributions) for _ in range(count)]
    return [decoded(trial.params, space.ranges) for trial in asked]


def _frozen(trial: Finished, space: Space) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    states = {
        "complete": TrialState.COMPLETE,
        "stopped": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }
    usable = trial.value is not None and math.isfinite(trial.value)
    return create_trial(
        state=states[trial.state] if usable else TrialState.FAIL,
        value=trial.value if usable and trial.state == "complete" else None,
        params=encoded(trial.params, space.ranges),
        distributions=space.distributions,
        intermediate_values={e: v for e, v in trial.curve.items() if math.isfinite(v)},
    )
