"""Finding runs and checkpoints by what a user types."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelscale.errors import DataError, InputMissing, ModelscaleError
from modelscale.runs.atomic import MANIFEST
from modelscale.runs.checkpoints import CheckpointStore
from modelscale.runs.folder import LATEST
from modelscale.runs.lock import LockHolder, lock_holder
from modelscale.runs.part import CHECKPOINTS
from modelscale.runs.record import RUN_FILE, RunRecord, read_record, run_folders
from modelscale.runs.trials import trial_folder


@dataclass(frozen=True)
class RunSummary:
    """A run as a listing shows it."""

    path: Path
    """The run's folder."""

    name: str
    """The run's name: the folder above."""

    status: str
    """As in `run.json`; `interrupted` for one that was killed, `damaged` if unreadable."""

    record: RunRecord | None
    """The content of `run.json`; None if it cannot be read."""

    holder: LockHolder | None
    """Who works on it now."""

    fault: str | None = None
    """Why it cannot be read."""


def list_runs(root: Path) -> tuple[RunSummary, ...]:
    """Return all runs under `root`, by name and age; folders that are no runs are passed over.

    Raises:
        InputMissing: If `root` is not a folder.
    """
    if not root.is_dir():
        raise InputMissing(f"{root}: no such runs folder")
    found: list[RunSummary] = []
    for folder in sorted(root.iterdir()):
        if not folder.name.startswith(".") and not folder.is_symlink():
            runs = map(summary_of, run_folders(folder))
            found.extend(sorted(runs, key=lambda run: run.record.number if run.record else 0))
    return tuple(found)


def summary_of(path: Path) -> RunSummary:
    """Return how the run in the folder `path` stands, also if it is damaged."""
    name, holder = path.parent.name, lock_holder(path)
    try:
        record = read_record(path)
    except ModelscaleError as error:
        return RunSummary(path, name, "damaged", None, holder, str(error))
    killed = record.status == "running" and holder is None
    status = "interrupted" if killed else record.status
    return RunSummary(path, name, status, record, holder)


def find_run(path: Path, root: Path) -> Path:
    """Return the run folder that `path` means.

    Args:
        path: A run folder, or the folder of a name (its newest run); also relative to `root`.
        root: The runs folder.

    Raises:
        InputMissing: If there is no such run; says where it was looked for.
    """
    places = list(dict.fromkeys([path, root / path]))
    for place in places:
        if os.path.lexists(place / RUN_FILE):
            return place.resolve()
        if place.is_dir():
            newest = _newest_run(place)
            if newest is not None:
                return newest
    raise InputMissing(f"{path}: no run found; looked in {_listed(places)}")


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint folder that `path` means, not yet verified.

    Args:
        path: A checkpoint folder; a run, trial or seed folder (its best checkpoint, else the
            last, else the newest that is whole); a study's folder (that of its best trial);
            or `runs/name` (its newest run).

    Raises:
        InputMissing: If there is none; says what was looked for.
        DataError: If there are checkpoints, but none is whole.
    """
    if not path.exists():
        raise InputMissing(f"{path}: no such file or folder")
    if not path.is_dir():
        raise InputMissing(f"{path}: not a checkpoint folder, run folder or study folder")
    if os.path.lexists(path / MANIFEST):
        return path.resolve()
    own = _own_checkpoint(path / CHECKPOINTS)
    if own is not None:
        return own
    looked = [path / MANIFEST, path / CHECKPOINTS]
    if os.path.lexists(path / RUN_FILE):
        best = _best_trial(path)
        if best is not None:
            return find_checkpoint(best)
        raise InputMissing(
            f"{path}: run without a checkpoint yet (status {read_record(path).status}); "
            f"looked for {_listed(looked)} and a best trial in {RUN_FILE}"
        )
    newest = _newest_run(path)
    if newest is not None:
        return find_checkpoint(newest)
    raise InputMissing(
        f"{path}: no checkpoint found; looked for {_listed([*looked, path / LATEST])}"
    )


def _own_checkpoint(folder: Path) -> Path | None:
    store = CheckpointStore(folder)
    for label in ("best", "last"):
        step = store.pointed(label)
        if step is not None:
            return store.path(step).resolve()
    found = store.newest_valid(required=())
    return None if found is None else found.path


def _best_trial(path: Path) -> Path | None:
    """Return the folder of a study's best trial, None if it is not known (yet)."""
    best = read_record(path).result.get("best")
    number = best.get("trial") if isinstance(best, dict) else None
    if number is None:
        return None
    if not isinstance(number, int) or number < 0:
        raise DataError(f"{path / RUN_FILE}: damaged: best.trial is {number!r}")
    trial = trial_folder(path, number)
    if not trial.is_dir():
        raise InputMissing(f"{path}: the best trial is {number}, but {trial} is not there")
    return trial


def _newest_run(name_folder: Path) -> Path | None:
    """Return the newest run of a name: where `latest` leads, or the highest number."""
    latest = name_folder / LATEST
    if os.path.lexists(latest / RUN_FILE):
        return latest.resolve()
    numbered: list[tuple[int, Path]] = []
    for path in run_folders(name_folder):
        with suppress(ModelscaleError):
            numbered.append((read_record(path).number, path.resolve()))
    return max(numbered)[1] if numbered else None


def _listed(places: list[Path]) -> str:
    return ", ".join(map(str, places))
