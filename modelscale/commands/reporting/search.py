"""How a search went: its trials over time, by parameter, and the winner."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from modelscale.commands.reporting.curves import by_epoch, series_of
from modelscale.commands.reporting.importance import importance
from modelscale.commands.reporting.reading import RunView
from modelscale.commands.reporting.repeated import fresh_seeds_section
from modelscale.commands.reporting.rereading import Reread
from modelscale.commands.reporting.search_front import (
    constraints_section,
    front_section,
    goals_of,
)
from modelscale.errors import ModelscaleError
from modelscale.evaluation.metric_names import direction_of
from modelscale.report import numbers
from modelscale.report.charts import (
    Axis,
    Bars,
    BarSeries,
    Curves,
    History,
    ParallelCoordinates,
    Series,
    SliceScatter,
)
from modelscale.report.content import Block, Cell, Code, Paragraph, Section, Stat, Table
from modelscale.runs.metric_log import read
from modelscale.runs.part import METRICS
from modelscale.runs.trials import TrialRecord, TrialState, trial_folder
from modelscale.tensors import Task
from modelscale.tuning.random_baseline import expected_best_of_random

_MOST_CURVES = 8
_LEARNING_AFTER = "tune.sampler.startup_trials"
_DIVERGED = "diverged"
_ABSENT = "–"


@dataclass(frozen=True)
class Study:
    """A search, ready to be shown.

    Attributes:
        trials: All of them, by number.
        values: Value of each; NaN where there is none.
        metric: What was searched for, such as `validation/loss`.
        direction: Which way is better.
        random: Trials at the start that were drawn at random.
        rival: What n trials of a random search that was run beside it find in the mean.
        best: Index of the best whole trial; None before there is one.
    """

    trials: tuple[TrialRecord, ...]
    values: tuple[float, ...]
    metric: str
    direction: Literal["minimize", "maximize"]
    random: int
    rival: tuple[float, ...]
    best: int | None

    @property
    def feasible(self) -> tuple[float, ...]:
        """Value of each trial that breaks no constraint; NaN for the others."""
        pairs = zip(self.trials, self.values, strict=True)
        return tuple(math.nan if t.state == "infeasible" else v for t, v in pairs)

    def indices(self, state: TrialState) -> tuple[int, ...]:
        """Return the trials that ended in a state."""
        return tuple(i for i, trial in enumerate(self.trials) if trial.state == state)


def study_of(view: RunView) -> Study:
    """Return a run's search."""
    metric = str(view.result.get("objective") or view.settings.get("tune.metric") or "value")
    direction = _direction(metric, view.settings.get("tune.direction"))
    values = tuple(_value(trial) for trial in view.trials)
    whole = [
        index
        for index, trial in enumerate(view.trials)
        if trial.state == "complete" and math.isfinite(values[index])
    ]
    sign = 1 if direction == "maximize" else -1
    best = max(whole, key=lambda i: (sign * values[i], -i)) if whole else None
    said = view.result.get("best")
    number = said.get("trial") if isinstance(said, dict) else None
    best = next((i for i, trial in enumerate(view.trials) if trial.number == number), best)
    drawn = _drawn_at_random(view.settings, len(values))
    rival = (view.result.get("random_search") or {}).get("expected_best") or ()
    return Study(view.trials, values, metric, direction, drawn, tuple(rival), best)


def search_stats(study: Study) -> tuple[Stat, ...]:
    """Return the tiles: trials by state, and the best value."""
    counts = Counter(trial.state for trial in study.trials)
    states = ", ".join(f"{n:,} {state}" for state, n in counts.items())
    tiles = (Stat("Trials", numbers.count(len(study.trials)), note=states),)
    if study.best is None:
        return tiles
    value = numbers.significant(study.values[study.best])
    number = study.trials[study.best].number
    best = Stat(f"Best {study.metric}", value, note=f"trial {number}; chosen for it")
    return (best, *tiles)


def search_sections(view: RunView, study: Study, again: Reread) -> tuple[Section, ...]:
    """Return the sections on a search; with no trials, a sentence that says so."""
    if not study.trials:
        told = Paragraph("No trial has begun yet.")
        return (Section("Search", (told,)),)
    goals = goals_of(view, again.experiment, study.metric, study.direction)
    several = len(goals.names) > 1
    note = f"Of several objectives the first is shown: {study.metric}." if several else ""
    sections = [
        Section("Search", (_history(study), _curves(view, study), _by_state(study)), note),
        Section("Hyper-parameters", _parameters(view, study, again)),
        Section(
            "Trials",
            (_trials(study, goals.names),),
            "Best first; the whole ones before those that did not end.",
        ),
    ]
    found = constraints_section(study.trials, again.experiment)
    if found is not None:
        sections.insert(0, found)
    if several:
        sections.insert(0, front_section(view, study.trials, goals))
    fresh = fresh_seeds_section(view)
    if fresh is not None:
        sections.insert(0, fresh)
    if study.best is not None:
        sections.insert(0, _winner(view, study))
    return tuple(sections)


def random_search(values: Sequence[float], maximize: bool) -> tuple[float, ...]:
    """Return the expected best of 1, 2, … of the values; nothing where none is finite."""
    if not any(math.isfinite(value) for value in values):
        return ()
    budgets = range(1, len(values) + 1)
    return tuple(expected_best_of_random(values, budgets, maximize=maximize))


def _drawn_at_random(settings: Mapping[str, Any], trials: int) -> int:
    """Return how many trials at the start nobody chose: neither a sampler nor the user."""
    if settings.get("tune.enqueue") or settings.get("tune.start_with_defaults"):
        return 0
    if settings.get("tune.sampler.kind") == "random":
        return trials
    startup = settings.get(_LEARNING_AFTER)
    return min(startup, trials) if isinstance(startup, int) else 0


def _history(study: Study) -> History:
    maximize = study.direction == "maximize"
    so_far: list[float] = []
    best = math.nan
    for trial, value in zip(study.trials, study.values, strict=True):
        counts = trial.state == "complete" and math.isfinite(value)
        if counts and (math.isnan(best) or (value > best if maximize else value < best)):
            best = value
        so_far.append(best)
    told = ""
    random = study.rival
    if study.rival:
        told = (
            f"The dashed line is what a random search finds after as many trials in the mean, "
            f"from {len(study.rival):,} random trials run beside this search."
        )
    elif study.random > 1:
        random = random_search(study.feasible[: study.random], maximize)
        told = (
            f"The first {study.random:,} trials were drawn at random; the dashed line is what "
            "a random search is expected to have found after as many, by these trials alone."
        )
    stopped, infeasible = study.indices("stopped"), study.indices("infeasible")
    if stopped:
        told += (
            " A trial that was stopped early is shown with the best value that it had reached."
        )
    if any(math.isfinite(study.values[i]) for i in infeasible):
        told += " An infeasible trial never counts as the best."
    return History(
        "Value of each trial",
        study.values,
        tuple(so_far),
        random,
        stopped,
        study.direction,
        study.metric,
        told.strip(),
        infeasible,
    )


def _curves(view: RunView, study: Study) -> Curves:
    """Return the objective by epoch of the best trials, with those that were stopped."""
    series: list[Series] = []
    for index in _ranked(study)[:_MOST_CURVES]:
        trial = study.trials[index]
        try:
            lines = read(trial_folder(view.path, trial.number) / METRICS)
        except ModelscaleError:
            continue
        ending = "" if trial.state == "complete" else f" ({trial.state})"
        series.append(series_of(f"trial {trial.number}{ending}", by_epoch(lines, study.metric)))
    ys = [y for line in series for y in line.y if math.isfinite(y)]
    return Curves(
        f"{study.metric} by epoch",
        tuple(series),
        "epoch",
        study.metric,
        log_y=bool(ys) and min(ys) > 0 and max(ys) / min(ys) > 20,
        caption=f"The {len(series)} trials with the best values.",
    )


def _by_state(study: Study) -> Table:
    counts = Counter(trial.state for trial in study.trials)
    steps: Counter[str] = Counter()
    for trial in study.trials:
        steps[trial.state] += trial.steps or 0
    rows = tuple((state, n, steps[state]) for state, n in counts.items())
    return Table(("State", "Trials", "Optimizer steps"), rows, "Trials by state")


def _parameters(view: RunView, study: Study, again: Reread) -> tuple[Block, ...]:
    found = importance(study.trials, again.experiment, study.direction == "maximize")
    keys = list(dict.fromkeys(key for trial in study.trials for key in trial.params))
    order = [*found.values, *(key for key in keys if key not in found.values)]
    axes = {key: _axis(view, study, key) for key in order}
    bars = Bars(
        "Importance of hyper-parameters",
        tuple(found.values),
        (BarSeries("importance", tuple(found.values.values())),) if found.values else (),
        caption=found.method,
    )
    together = ParallelCoordinates(
        "All trials through all hyper-parameters",
        tuple(axes.values()),
        study.feasible,
        study.direction,
        study.metric,
        _left_out(study),
    )
    return (bars, together, *(_slice(study, axis) for axis in axes.values()))


def _slice(study: Study, axis: Axis) -> SliceScatter:
    """Return the trials that have a parameter, against it."""
    there = [i for i, trial in enumerate(study.trials) if axis.name in trial.params]
    absent = len(study.trials) - len(there)
    told = f"Only {len(there):,} of {len(study.trials):,} trials have it." if absent else ""
    return SliceScatter(
        axis.name,
        tuple(axis.values[i] for i in there),
        tuple(study.feasible[i] for i in there),
        axis.log,
        study.direction,
        study.metric,
        told,
    )


def _left_out(study: Study) -> str:
    n = sum(math.isfinite(study.values[i]) for i in study.indices("infeasible"))
    return f"Infeasible trials are left out: {n:,}." if n else ""


def _axis(view: RunView, study: Study, key: str) -> Axis:
    """Return a parameter's value in each trial; a trial may do without one."""
    raw = [trial.params.get(key) for trial in study.trials]
    there = [value for value in raw if value is not None]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in there)
    if numeric and view.settings.get(f"tune.space.{key}.choices") is None:
        values = tuple(math.nan if v is None else float(v) for v in raw)
        return Axis(key, values, bool(view.settings.get(f"tune.space.{key}.log")))
    return Axis(key, tuple(_ABSENT if v is None else _word(v) for v in raw))


def _trials(study: Study, names: Sequence[str]) -> Table:
    keys = list(dict.fromkeys(key for trial in study.trials for key in trial.params))
    rows: list[tuple[Cell, ...]] = []
    order = _ranked(study, whole_first=True)
    for index in order:
        trial = study.trials[index]
        value = None if math.isnan(study.values[index]) else study.values[index]
        others = [*trial.values[1:], *[None] * len(names)][: len(names) - 1]
        state = f"{trial.state}: {trial.error}" if trial.error else trial.state
        params = [_cell(trial.params.get(key)) for key in keys]
        rows.append((str(trial.number), state, value, *others, trial.steps, *params))
    head = ("Trial", "State", study.metric, *names[1:], "Steps", *keys)
    best = order.index(study.best) if study.best is not None else None
    return Table(head, tuple(rows), highlight=best)


def _winner(view: RunView, study: Study) -> Section:
    assert study.best is not None
    trial = study.trials[study.best]
    rows = tuple((key, _word(value)) for key, value in trial.params.items())
    blocks: list[Block] = [Table(("Setting", "Value"), rows, "Its settings")]
    if view.finished:
        blocks.append(Code("modelscale train best.yaml", "To train it again"))
        note = (
            f"Trial {trial.number} was chosen on {study.metric} alone. The test part was used "
            "only after the search, to measure this one model; the validation numbers were "
            "searched for, so they flatter it."
        )
    else:
        note = (
            f"Trial {trial.number} is the best so far. The test part has not been used; it "
            "is measured once, for the winner, when the search ends."
        )
    return Section("The winner", tuple(blocks), note)


def _ranked(study: Study, *, whole_first: bool = False) -> list[int]:
    """Return indices of trials from the best value on; those without a value last."""
    sign = -1 if study.direction == "maximize" else 1

    def place(index: int) -> tuple[bool, bool, float, int]:
        value, state = study.values[index], study.trials[index].state
        lost = math.isnan(value)
        late = whole_first and state != "complete"
        return lost, late, 0.0 if lost else sign * value, index

    return sorted(range(len(study.trials)), key=place)


def _value(trial: TrialRecord) -> float:
    value = trial.values[0] if trial.values else None
    usable = value is not None and trial.state not in {"failed", _DIVERGED}
    return math.nan if value is None or not usable else value


def _direction(metric: str, said: Any) -> Literal["minimize", "maximize"]:
    if said in {"minimize", "maximize"}:
        return "maximize" if said == "maximize" else "minimize"
    tasks: tuple[Task, ...] = ("classification", "regression")
    for task in tasks:
        try:
            return direction_of(metric, task)
        except ValueError:
            continue
    return "minimize"


def _word(value: Any) -> str:
    if isinstance(value, float):
        return numbers.plain(value)
    return value if isinstance(value, str) else json.dumps(value)


def _cell(value: Any) -> Cell:
    if value is None:
        return None
    plain = isinstance(value, int | float | str) and not isinstance(value, bool)
    return value if plain else _word(value)
