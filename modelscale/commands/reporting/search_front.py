"""A search with several objectives or with constraints: its front, what bounds ruled out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscale.commands.reporting.reading import RunView
from modelscale.commands.study_files import aims_without_data
from modelscale.report import numbers
from modelscale.report.charts import Direction, TradeOff
from modelscale.report.content import Block, Cell, Section, Table
from modelscale.runs.trials import TrialRecord
from modelscale.tuning.fronts import pareto_front
from modelscale.tuning.goals import Bound, violations

if TYPE_CHECKING:
    from modelscale.commands.experiment import Experiment

_ORDERS = 20.0  # largest over smallest value from which an axis is logarithmic


@dataclass(frozen=True)
class Goals:
    """What a search was after.

    Attributes:
        names: Of its objectives.
        maximize: For each of them whether larger is better.
    """

    names: tuple[str, ...]
    maximize: tuple[bool, ...]

    def direction(self, place: int) -> Direction:
        """Return which values of an objective are better."""
        return "maximize" if self.maximize[place] else "minimize"


def goals_of(
    view: RunView, experiment: Experiment | None, metric: str, direction: Direction
) -> Goals:
    """Return the objectives; only the first one, as given, if the spec cannot be read."""
    alone = Goals((metric,), (direction == "maximize",))
    if experiment is None or experiment.tune is None:
        return alone
    try:
        aims = aims_without_data(experiment)
    except ValueError:
        return alone
    whole = all(len(trial.values) in {0, len(aims.names)} for trial in view.trials)
    return Goals(aims.names, aims.maximize) if whole and len(aims.names) > 1 else alone


def front_section(view: RunView, trials: Sequence[TrialRecord], goals: Goals) -> Section:
    """Return the trials that no other one dominates: in pictures, and as a table."""
    front = _front(view, trials, goals)
    blocks: list[Block] = [
        _against_first(trials, goals, front, place) for place in range(1, len(goals.names))
    ]
    blocks.append(_table(trials, goals, front))
    wanted = " and ".join(
        f"{'higher' if up else 'lower'} {name}"
        for name, up in zip(goals.names, goals.maximize, strict=True)
    )
    note = (
        f"Better is {wanted}. On the front nothing gets better in one objective without "
        "getting worse in another; which point to take is a choice that no search can make."
    )
    return Section("Pareto front", tuple(blocks), note)


def constraints_section(
    trials: Sequence[TrialRecord], experiment: Experiment | None
) -> Section | None:
    """Return the bounds with the trials that broke each; None for a search without any."""
    if experiment is None or experiment.tune is None or not experiment.tune.constraints:
        return None
    rows: list[tuple[Cell, ...]] = []
    for name, bound in experiment.tune.constraints.items():
        known = [values[name] for trial in trials if name in (values := _measured(trial))]
        broken = [value for value in known if _breaks(name, bound, value)]
        rows.append((name, _word_of(bound), len(known), len(broken)))
    infeasible = [trial for trial in trials if trial.state == "infeasible"]
    untrained = sum(not trial.steps for trial in infeasible)
    note = (
        f"{len(infeasible):,} of {len(trials):,} trials are infeasible and cannot win: "
        f"{untrained:,} by what is known before training, which they were spared, and "
        f"{len(infeasible) - untrained:,} by what training came to."
    )
    head = ("Measure", "Bound", "Trials measured", "Trials that break it")
    return Section("Constraints", (Table(head, tuple(rows)),), note)


def _front(view: RunView, trials: Sequence[TrialRecord], goals: Goals) -> tuple[int, ...]:
    """Return the indices of the front: as the run says, or so far as it has come."""
    places = {trial.number: index for index, trial in enumerate(trials)}
    said = view.result.get("pareto") if view.finished else None
    if isinstance(said, list):
        listed = [point.get("trial") for point in said if isinstance(point, dict)]
        return tuple(places[number] for number in listed if number in places)
    whole = [
        index
        for index, trial in enumerate(trials)
        if trial.state == "complete" and all(math.isfinite(v) for v in _values(trial, goals))
    ]
    found = pareto_front([_values(trials[i], goals) for i in whole], goals.maximize)
    return tuple(whole[place] for place in found)


def _against_first(
    trials: Sequence[TrialRecord], goals: Goals, front: tuple[int, ...], place: int
) -> TradeOff:
    """Return the first objective against another one."""
    usable = [
        trial.state in {"complete", "stopped", "infeasible", "running"} for trial in trials
    ]
    pairs = [
        (_values(t, goals)[place], _values(t, goals)[0]) if use else (math.nan, math.nan)
        for t, use in zip(trials, usable, strict=True)
    ]
    x, y = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    two = len(goals.names) == 2
    return TradeOff(
        f"{goals.names[0]} against {goals.names[place]}",
        x,
        y,
        front,
        tuple(i for i, trial in enumerate(trials) if trial.state == "stopped"),
        tuple(i for i, trial in enumerate(trials) if trial.state == "infeasible"),
        goals.direction(place),
        goals.direction(0),
        goals.names[place],
        goals.names[0],
        log_x=_spans_orders(x),
        log_y=_spans_orders(y),
        connected=two,
        caption="" if two else "The front is one of all objectives together.",
    )


def _table(trials: Sequence[TrialRecord], goals: Goals, front: tuple[int, ...]) -> Table:
    members = sorted(front, key=lambda i: _best_first(trials[i], goals))
    keys = list(dict.fromkeys(key for i in members for key in trials[i].params))
    rows = tuple(
        (
            str(trials[i].number),
            *(None if math.isnan(v) else v for v in _values(trials[i], goals)),
            *(_cell(trials[i].params.get(key)) for key in keys),
        )
        for i in members
    )
    return Table(("Trial", *goals.names, *keys), rows, "Trials on the front")


def _best_first(trial: TrialRecord, goals: Goals) -> tuple[float, int]:
    first = _values(trial, goals)[0]
    return -first if goals.maximize[0] else first, trial.number


def _values(trial: TrialRecord, goals: Goals) -> tuple[float, ...]:
    """Return all objectives of a trial; NaN for what it has not."""
    values = trial.values or (None,) * len(goals.names)
    return tuple(math.nan if value is None else value for value in values)


def _measured(trial: TrialRecord) -> dict[str, float]:
    """Return what bounds are held against; NaN for what was not finite.

    Metrics of a trial that did not come to its end are none of it.
    """
    found: dict[str, float] = {}
    whole = trial.state in {"complete", "infeasible"}
    for part in ("static", "metrics") if whole else ("static",):
        values = trial.result.get(part)
        for name, value in values.items() if isinstance(values, dict) else ():
            if value is None or isinstance(value, int | float):
                found[name] = math.nan if value is None else float(value)
    return found


def _breaks(name: str, bound: Bound, value: float) -> bool:
    return max(violations({name: bound}, {name: value})) > 0


def _word_of(bound: Bound) -> str:
    limits = (("at least", bound.at_least), ("at most", bound.at_most))
    return ", ".join(f"{word} {numbers.plain(n)}" for word, n in limits if n is not None)


def _spans_orders(values: Sequence[float]) -> bool:
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) > _ORDERS


def _cell(value: Any) -> Cell:
    plain = isinstance(value, int | float | str | None) and not isinstance(value, bool)
    return value if plain else json.dumps(value)
