"""`modelscale doctor --repair`: what is derived from a search's trial folders, made again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from modelscale.commands.aims import winners_spec
from modelscale.commands.experiment import Experiment
from modelscale.commands.study_files import (
    TRIALS_TABLE,
    aims_without_data,
    curve_of,
    write_derived,
)
from modelscale.errors import DataError, InputMissing, ModelscaleError, UsageError
from modelscale.runs.checkpoints import read_checkpoint
from modelscale.runs.find import find_run
from modelscale.runs.folder import RESOLVED_FILE, RunFolder
from modelscale.runs.lock import RunLock
from modelscale.runs.part import CHECKPOINTS, RunPart
from modelscale.runs.trials import TRIALS, TrialRecord, read_trial, trial_folder
from modelscale.spec.loader import canonical, dump, load
from modelscale.tuning.study_file import STUDY_FILE

BEST_SPEC = "best.yaml"
_BEST = Path(CHECKPOINTS) / "best"
_REMEDY = "move it away and repair again to have it rebuilt"


@dataclass(frozen=True)
class Repaired:
    """What was done, and what could not be.

    Attributes:
        run: The search's folder.
        trials: Trials that could be read.
        rebuilt: Files and folders that were made again.
        checked: Those that were found to agree with the trials.
        damaged: What is damaged or disagrees, and was left alone; a line each.
    """

    run: Path
    trials: int
    rebuilt: tuple[str, ...]
    checked: tuple[str, ...]
    damaged: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """65 if anything is damaged, otherwise 0."""
        return DataError.exit_code if self.damaged else 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        content: dict[str, Any] = {
            "run": str(self.run),
            "status": "done",
            "trials": self.trials,
            "rebuilt": list(self.rebuilt),
            "checked": list(self.checked),
            "damaged": list(self.damaged),
        }
        if self.damaged:
            failed = {"status": "error", "exit_code": self.exit_code}
            content |= failed | {"messages": list(self.damaged)}
        return content


@dataclass(frozen=True)
class _Found:
    """What there is to say of one derived file."""

    what: str
    verdict: Literal["rebuilt", "checked", "damaged"]
    detail: str = ""


@dataclass
class _Ledger:
    """The trials of a search that can be read, and what is wrong with the others."""

    trials: list[TrialRecord]
    curves: dict[int, dict[int, float]]
    damaged: list[str]


def repair(path: Path, root: Path) -> Repaired:
    """Rebuild `study.db` and `trials.csv` of a search; check its winner if it is finished.

    Trial folders are never changed. `best.yaml` and the best checkpoint are made again where
    they are missing; where they differ from what the trials say they are named.

    Args:
        path: The run, or the name of runs.
        root: The runs folder.

    Raises:
        InputMissing: If there is no such run.
        UsageError: If it is not a search.
        TryAgain: If another process works on the run.
        DataError: If its `run.json` is damaged.
        SpecError: If its resolved spec cannot be read.
    """
    folder = find_run(path, root)
    with RunLock(folder):
        run = RunFolder.read(folder)
        if not (folder / TRIALS).is_dir():
            raise UsageError(f"{folder}: not a search: it has no folder {TRIALS}")
        experiment = load(folder / RESOLVED_FILE, Experiment).spec
        if experiment.tune is None:
            raise UsageError(f"{folder}: not a search: its spec has no section 'tune'")
        aims = aims_without_data(experiment)
        ledger = _Ledger([], {}, [])
        for trial in sorted((folder / TRIALS).iterdir()):
            if trial.name.isdecimal():
                _read(trial, ledger)
        for record in ledger.trials:
            try:
                ledger.curves[record.number] = curve_of(folder, record.number, aims)
            except ModelscaleError as error:
                ledger.damaged.append(str(error))
        ledger.trials.sort(key=lambda record: record.number)
        write_derived(run, experiment, aims, ledger.trials, ledger.curves)
        found = [_Found(STUDY_FILE, "rebuilt"), _Found(TRIALS_TABLE, "rebuilt")]
        if run.record.status == "done":
            winner = _winner(run, ledger, aims.maximize[0])
            found += _of_winner(run, experiment, winner)
    return Repaired(
        folder,
        len(ledger.trials),
        tuple(each.what for each in found if each.verdict == "rebuilt"),
        tuple(each.what for each in found if each.verdict == "checked"),
        (
            *ledger.damaged,
            *(f"{folder / e.what}: {e.detail}" for e in found if e.verdict == "damaged"),
        ),
    )


def _read(folder: Path, ledger: _Ledger) -> None:
    """Add a trial to the ledger, or what is wrong with it."""
    try:
        record = read_trial(folder)
    except ModelscaleError as error:
        ledger.damaged.append(str(error))
        return
    if record is None:
        return
    if record.number != int(folder.name):
        ledger.damaged.append(f"{folder}: damaged: says that it is trial {record.number}")
        return
    ledger.trials.append(record)


def _winner(run: RunFolder, ledger: _Ledger, maximize: bool) -> TrialRecord | None:
    """Return the trial that the run names as the best; note it if another one is better.

    None if it cannot be read, or is not the best, so that nothing can be said of its files.
    """
    number = run.record.result.get("best", {}).get("trial")
    sign = 1 if maximize else -1
    values = {
        trial.number: sign * (trial.values[0] or 0.0)
        for trial in ledger.trials
        if trial.state == "complete" and trial.values and None not in trial.values
    }
    best = max(values, key=lambda n: (values[n], -n), default=None)
    if best is None or values.get(number) == values[best]:
        return next((trial for trial in ledger.trials if trial.number == number), None)
    if number in {trial.number for trial in ledger.trials}:
        told = f"{run.path}: run.json names trial {number} as the best, its trials {best}"
        ledger.damaged.append(told)
    return None


def _of_winner(
    run: RunFolder, experiment: Experiment, best: TrialRecord | None
) -> list[_Found]:
    """Return what there is to say of the files that the winner has in the run."""
    if best is None:
        return []
    variant = winners_spec(experiment, best.params, aims_without_data(experiment).label)
    return [
        _best_spec(run, variant, best.number),
        _best_checkpoint(run, experiment, best.number),
    ]


def _best_spec(run: RunFolder, variant: Experiment, number: int) -> _Found:
    try:
        found = load(run.path / BEST_SPEC, Experiment).spec
    except InputMissing:
        run.write(BEST_SPEC, dump(variant).encode())
        return _Found(BEST_SPEC, "rebuilt")
    except ModelscaleError as error:
        reason = str(error).splitlines()[0]
        return _Found(BEST_SPEC, "damaged", f"damaged: {reason}; {_REMEDY}")
    if canonical(found) == canonical(variant):
        return _Found(BEST_SPEC, "checked")
    return _Found(BEST_SPEC, "damaged", f"differs from trial {number}, the best; {_REMEDY}")


def _best_checkpoint(run: RunFolder, experiment: Experiment, number: int) -> _Found:
    """Check the run's best model against the best trial's, which it is a copy of.

    After a cross-validation it is one of its own, trained on all rows, so it has to be whole
    and no more can be said.
    """
    assert experiment.tune is not None
    what, copied = str(_BEST), experiment.tune.folds is None
    missing = not (run.path / _BEST).exists()
    try:
        source = read_checkpoint(
            (trial_folder(run.path, number) if copied else run.path) / _BEST
        )
    except ModelscaleError as error:
        return _Found(what, "damaged", f"cannot be compared: {error}")
    if copied and missing:
        store = RunPart(run.path, owner=True).checkpoints()
        store.save(source.step, dict(source.files))
        store.point("best", source.step)
        return _Found(what, "rebuilt")
    try:
        own = read_checkpoint(run.path / _BEST)
    except ModelscaleError as error:
        return _Found(what, "damaged", f"{error}; {_REMEDY}")
    if own.sha256 == source.sha256:
        return _Found(what, "checked")
    fault = f"is not the model of trial {number}, the best; {_REMEDY}"
    return _Found(what, "damaged", fault)
