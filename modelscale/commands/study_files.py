"""What is derived from the trial folders of a search: `study.db` and `trials.csv`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.commands.aims import Aims
from modelscale.runs.folder import RunFolder
from modelscale.runs.metric_log import read
from modelscale.runs.part import METRICS
from modelscale.runs.trials import TrialRecord, read_trials, trial_folder
from modelscale.tuning.study_file import STUDY_FILE, Curves, study_bytes

if TYPE_CHECKING:
    from modelscale.commands.experiment import Experiment
    from modelscale.tensors import Task

TRIALS_TABLE = "trials.csv"


def write_study(run: RunFolder, experiment: Experiment, aims: Aims) -> None:
    """Write `study.db` and `trials.csv` from the ledger, durably.

    Args:
        run: The run, whose lock the caller holds.
        experiment: What is searched; it has a `tune` section.
        aims: Of the search.

    Raises:
        DataError: If a trial's file is damaged.
    """
    trials = read_trials(run.path)
    curves = {trial.number: curve_of(run.path, trial.number, aims) for trial in trials}
    write_derived(run, experiment, aims, trials, curves)


def write_derived(
    run: RunFolder,
    experiment: Experiment,
    aims: Aims,
    trials: Sequence[TrialRecord],
    curves: Curves,
) -> None:
    """Write `study.db` and `trials.csv` from some trials, with their curves by number."""
    from modelscale.tuning.space import space_of

    assert experiment.tune is not None
    space = space_of(experiment.tune.space, experiment)
    name = run.record.name
    data = study_bytes(trials, space, aims.names, aims.maximize, name, curves)
    run.write(STUDY_FILE, data)
    run.write(TRIALS_TABLE, trials_table(trials, aims.names, list(space.ranges)))


def trials_table(
    trials: Iterable[TrialRecord], names: Sequence[str], keys: Sequence[str]
) -> bytes:
    """Return `trials.csv`, one row a trial. A cell is empty where there is nothing to tell.

    Args:
        trials: The ledger.
        names: Of the objectives.
        keys: What is searched, also what only some trials have.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["trial", "state", *names, "steps", *keys, "error"])
    for trial in trials:
        values = [_cell(value) for value in trial.values or [None] * len(names)]
        params = [_cell(trial.params.get(key)) for key in keys]
        table.writerow(
            [trial.number, trial.state, *values, _cell(trial.steps), *params, trial.error]
        )
    return text.getvalue().encode()


def curve_of(run: Path, number: int, aims: Aims) -> dict[int, float]:
    """Return the only objective of a trial by epoch; empty if there are several.

    Raises:
        DataError: If the trial's log is damaged.
    """
    if len(aims.names) > 1:
        return {}
    name = aims.names[0]
    return {
        line["epoch"]: line[name]
        for line in read(trial_folder(run, number) / METRICS)
        if line.get(name) is not None and "epoch" in line
    }


def aims_without_data(experiment: Experiment) -> Aims:
    """Return what a search wants, where its data are not at hand.

    A spec may leave its task to the data. A metric is of one task only, or is better in the
    same direction for both, so either task that knows all of them will do.
    """
    assert experiment.tune is not None
    tasks: tuple[Task, ...] = ("classification", "regression")
    try:
        known = experiment.known_task
        task = "classification" if known == "anomaly" else known
        return Aims.of(experiment.tune, task or tasks[0])
    except ValueError:
        return Aims.of(experiment.tune, tasks[1])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
