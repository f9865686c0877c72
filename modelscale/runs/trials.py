"""The ledger of a search: what each trial was, and what came out of it.

These files are the truth about a search; any database of it can be rebuilt from them. A
trial's parameters are on disk before it starts, and its result before anybody is told.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from modelscale.errors import InputMissing, ModelscaleError
from modelscale.runs import atomic
from modelscale.runs.part import RESULT, RunPart
from modelscale.runs.record import SCHEMA_VERSION, Record, read_model, utc_now

TRIALS = "trials"
TRIAL_FILE = "trial.json"
TrialState = Literal["running", "complete", "stopped", "failed", "diverged", "infeasible"]


class TrialRecord(Record):
    """One trial of a search, as far as it is."""

    schema_version: int = SCHEMA_VERSION
    """Version of the file format."""

    number: int = Field(ge=0)
    """Its number, from 0 in the order of proposal; its seed follows from it."""

    state: TrialState = "running"
    """`stopped` early by a rule, `failed` by an error, `infeasible` by a constraint."""

    params: dict[str, Any]
    """Values by the spec key that they set, such as `optimizer.lr`."""

    values: tuple[float | None, ...] = ()
    """The objectives, in the order of the spec; None where one is not finite."""

    constraints: tuple[float | None, ...] = ()
    """How far each constraint is violated; 0 or less where it holds."""

    steps: int | None = None
    """Optimizer steps done."""

    error: str | None = None
    """Why it failed, in one line."""

    result: dict[str, Any] = Field(default_factory=dict)
    """More that came out: `metrics`, `model`, …"""

    started: str | None = None
    """When its last attempt began, in UTC (ISO 8601)."""

    seconds: float | None = None
    """Wall-clock time of training."""

    attempts: int = Field(1, ge=1)
    """How often it was begun."""


def trial_folder(run: Path, number: int) -> Path:
    """Return the folder of a trial of the run at `run`."""
    return run / TRIALS / f"{number:04d}"


def begin_trial(part: RunPart, number: int, params: dict[str, Any]) -> RunPart:
    """Write a trial's parameters durably, and return where it runs.

    A trial that was begun before and has no result is begun again, with one more in
    `attempts`; its metrics and checkpoints are still there to go on from.

    Args:
        part: The run's `part`, opened by its owner.
        number: The trial's number.
        params: Values by spec key.
    """
    trial = part.sub(f"{TRIALS}/{number:04d}")
    try:
        attempts = read_model(TrialRecord, trial.path / TRIAL_FILE).attempts + 1
    except InputMissing:
        attempts = 1
    record = TrialRecord(number=number, params=params, started=utc_now(), attempts=attempts)
    atomic.write_json(trial.path / TRIAL_FILE, record.model_dump(mode="python"))
    return trial


def finish_trial(trial: RunPart, record: TrialRecord) -> None:
    """Write a trial's result durably; only then may a sampler be told.

    Raises:
        StorageError: If the disk is full or broken; the trial then still counts as running.
    """
    assert record.state != "running"
    trial.write_result(record.model_dump(mode="python"))


def read_trials(run: Path) -> tuple[TrialRecord, ...]:
    """Return the trials of the run at `run`, by number; unfinished ones as `running`.

    Raises:
        DataError: If a trial's file is damaged; says which.
    """
    try:
        folders = [path for path in (run / TRIALS).iterdir() if path.name.isdecimal()]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    found = [record for path in folders if (record := read_trial(path)) is not None]
    return tuple(sorted(found, key=lambda record: record.number))


def read_trial(folder: Path) -> TrialRecord | None:
    """Return the trial in a folder, as far as it is; None if it never began.

    Raises:
        DataError: If its file is damaged.
    """
    try:
        record = read_model(TrialRecord, folder / RESULT)
    except InputMissing:
        with suppress(InputMissing):
            return read_model(TrialRecord, folder / TRIAL_FILE)
        return None  # killed before its parameters were written: it never began
    if record.started is None:
        with suppress(ModelscaleError):  # a finished trial counts without its first file
            begun = read_model(TrialRecord, folder / TRIAL_FILE)
            told = {"started": begun.started, "attempts": begun.attempts}
            return record.model_copy(update=told)
    return record
