"""Which hyper-parameters a search's result hangs on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from modelscale.errors import ModelscaleError
from modelscale.runs.trials import TrialRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelscale.commands.experiment import Experiment

_LEAST = 5
_ENOUGH_FOR_PED_ANOVA = 50  # its best tenth then holds the five trials that it needs


@dataclass(frozen=True)
class Importance:
    """Importances of hyper-parameters.

    Attributes:
        values: By key, the largest first; empty where there are too few trials.
        method: How they were found, for people.
    """

    values: dict[str, float]
    method: str


def importance(
    trials: Sequence[TrialRecord], experiment: Experiment | None, maximize: bool
) -> Importance:
    """Return importances from all trials that have a value, also those stopped early.

    With 50 trials it is PED-ANOVA (Watanabe et al., IJCAI 2023), as Optuna computes it: how
    differently the best tenth is spread from all. With fewer it is rank correlation.
    """
    valued = [trial for trial in trials if trial.values and trial.values[0] is not None]
    if len(valued) < _LEAST:
        return Importance({}, f"Too few trials with a value: {len(valued)} of {_LEAST}.")
    keys = dict.fromkeys(key for trial in valued for key in trial.params)
    having = {key: sum(key in trial.params for trial in valued) for key in keys}
    everywhere = all(n == len(valued) for n in having.values())  # PED-ANOVA takes no others
    if experiment is not None and everywhere and len(valued) >= _ENOUGH_FOR_PED_ANOVA:
        try:
            values = _ped_anova(valued, experiment, maximize)
        except (ModelscaleError, ValueError, RuntimeError):
            values = {}
        if values:
            return Importance(
                _sorted(values),
                f"PED-ANOVA over {len(valued):,} trials: by how much the best tenth of them "
                "is spread differently from all, each parameter for itself; adds up to 1.",
            )
    told = (
        f"Strength of the rank relation over {len(valued):,} trials, each parameter for "
        "itself: |Spearman's ρ| for numbers, the correlation ratio η of ranks for choices. It "
        "misses what is best in the middle of a range."
    )
    if not everywhere:
        told += " A parameter that only some trials have is judged among those trials."
    rare = [key for key, n in having.items() if n < _LEAST]
    if rare:
        told += f" Fewer than {_LEAST} trials have {', '.join(rare)}."
    measured = {key: rank_association(*_column(valued, key)) for key in keys if key not in rare}
    return Importance(_sorted(measured), told)


def rank_association(values: Sequence[Any], scores: Sequence[float]) -> float:
    """Return how strongly scores hang on a parameter by rank, from 0 to 1.

    Args:
        values: Of the parameter: numbers, or texts for choices.
        scores: Of the trials.

    Returns:
        |Spearman's ρ| for numbers; for choices η, the root of the share of the ranks'
        variance that lies between the choices. 0 where either does not vary.
    """
    places = _ranks(scores)
    total = _squares(places)
    if not total:
        return 0.0
    if any(isinstance(value, str) for value in values):
        groups: dict[str, list[float]] = {}
        for value, place in zip(values, places, strict=True):
            groups.setdefault(str(value), []).append(place)
        within = sum(_squares(group) for group in groups.values())
        return float(max(0.0, 1 - within / total) ** 0.5)
    others = _ranks(values)
    spread = _squares(others)
    if not spread:
        return 0.0
    middle = (len(places) + 1) / 2
    common = sum((a - middle) * (b - middle) for a, b in zip(places, others, strict=True))
    return float(abs(common) / (total * spread) ** 0.5)


def _ped_anova(
    trials: Sequence[TrialRecord], experiment: Experiment, maximize: bool
) -> dict[str, float]:
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    from modelscale.tuning.space import distributions, encoded

    if experiment.tune is None:
        return {}
    space = experiment.tune.space
    spread = distributions(space, experiment)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=encoded(trial.params, space),
                distributions={key: spread[key] for key in trial.params},
                value=trial.values[0],
            )
            for trial in trials
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of experimental features, and of constant values
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {key: float(value) for key, value in found.items()}


def _column(trials: Sequence[TrialRecord], key: str) -> tuple[list[Any], list[float]]:
    pairs = [(t.params[key], t.values[0] or 0.0) for t in trials if key in t.params]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v, _ in pairs)
    return [v if numbers else str(v) for v, _ in pairs], [score for _, score in pairs]


def _sorted(values: dict[str, float]) -> dict[str, float]:
    return dict(sorted(values.items(), key=lambda item: -item[1]))


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the place of each value from 1; equal values share the mean of their places."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for index in order[start:end]:
            ranks[index] = (start + 1 + end) / 2
        start = end
    return ranks


def _squares(values: Sequence[float]) -> float:
    middle = fmean(values)
    return sum((value - middle) ** 2 for value in values)
