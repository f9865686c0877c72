"""Listing, showing, comparing and removing runs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelscale.errors import DataError, InputMissing, SpecError, UsageError
from modelscale.runs.atomic import without_nonfinite
from modelscale.runs.checkpoints import CheckpointStore
from modelscale.runs.find import RunSummary, find_run, list_runs, summary_of
from modelscale.runs.folder import RESOLVED_FILE
from modelscale.runs.line_file import read_lines
from modelscale.runs.part import CHECKPOINTS, METRICS
from modelscale.runs.record import RunRecord, run_folders
from modelscale.runs.remove import remove_run
from modelscale.runs.trials import read_trials


@dataclass(frozen=True)
class RunRow:
    """A run in a listing.

    Attributes:
        path: Its folder.
        name: Of the run.
        status: As it is now, such as `done`, `running`, `interrupted`.
        created: In UTC, ISO 8601; None if it cannot be read.
        command: The command line that began it.
        metrics: `split/metric` to value, from its result.
        note: Who works on it, or why it cannot be read.
    """

    path: str
    name: str
    status: str
    created: str | None
    command: str
    metrics: dict[str, Any]
    note: str


@dataclass(frozen=True)
class Listing:
    """All runs of a runs folder."""

    runs: tuple[RunRow, ...]
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        return {"runs": [asdict(row) for row in self.runs]}


@dataclass(frozen=True)
class Shown:
    """One run in full.

    Attributes:
        row: As in a listing.
        record: What its `run.json` says.
        settings: Values of the resolved spec by key path.
        checkpoints: Steps that have one.
        best: Step of the best checkpoint.
        trials: Number of trials by state.
        metric_lines: Lines of `metrics.jsonl`.
        last_metrics: The last of them.
        exit_code: Always 0.
    """

    row: RunRow
    record: RunRecord
    settings: dict[str, Any]
    checkpoints: tuple[int, ...]
    best: int | None
    trials: dict[str, int]
    metric_lines: int
    last_metrics: dict[str, Any]
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        record = without_nonfinite(self.record.model_dump(mode="json"))
        return {
            "run": self.row.path,
            "status": self.row.status,
            "record": record,
            "settings": without_nonfinite(self.settings),
            "checkpoints": {"steps": list(self.checkpoints), "best": self.best},
            "trials": self.trials,
            "metrics": self.row.metrics,
            "metric_lines": self.metric_lines,
            "last_metrics": self.last_metrics,
        }


@dataclass(frozen=True)
class Comparison:
    """Several runs side by side; each tuple has a place for each run, None where it has none.

    Attributes:
        runs: The runs' folders.
        settings: Those that are not the same in all runs, by key path.
        metrics: All results, by `split/metric`.
        exit_code: Always 0.
    """

    runs: tuple[str, ...]
    settings: dict[str, tuple[Any, ...]]
    metrics: dict[str, tuple[Any, ...]]
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        return {
            "runs": list(self.runs),
            "settings": without_nonfinite(self.settings),
            "metrics": without_nonfinite(self.metrics),
        }


@dataclass(frozen=True)
class Removed:
    """The runs that are gone.

    Attributes:
        runs: Their folders.
        freed_bytes: Space that they took.
        exit_code: Always 0.
    """

    runs: tuple[str, ...]
    freed_bytes: int
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        return {"removed": list(self.runs), "freed_bytes": self.freed_bytes}


def ls(root: Path, name: str | None = None) -> Listing:
    """Return all runs under `root`, or those of one name; none if there is no such folder."""
    try:
        runs = list_runs(root)
    except InputMissing:
        runs = ()
    return Listing(tuple(_row(run) for run in runs if name in {None, run.name}))


def show(run: Path, root: Path) -> Shown:
    """Return everything about one run.

    Args:
        run: Its folder, or relative to `root`; a name means its newest run.
        root: The runs folder.

    Raises:
        InputMissing: If there is no such run.
        DataError: If its `run.json`, metrics or trials are damaged.
    """
    path = find_run(run, root)
    summary = _readable(path)
    assert summary.record is not None
    store = CheckpointStore(path / CHECKPOINTS)
    lines = read_lines(path / METRICS)
    return Shown(
        row=_row(summary),
        record=summary.record,
        settings=settings_of(path),
        checkpoints=tuple(store.steps()),
        best=store.pointed("best"),
        trials=dict(Counter(trial.state for trial in read_trials(path))),
        metric_lines=len(lines),
        last_metrics=lines[-1] if lines else {},
    )


def compare(runs: Sequence[Path], root: Path) -> Comparison:
    """Return the settings in which runs differ, and their results side by side.

    Args:
        runs: Two or more, each as for `show`.
        root: The runs folder.

    Raises:
        UsageError: If there are fewer than two.
        InputMissing: If there is no such run.
        DataError: If one is damaged.
    """
    if len(runs) < 2:
        raise UsageError(f"compare needs two or more runs, got {len(runs)}")
    summaries = [_readable(find_run(run, root)) for run in runs]
    settings = _side_by_side([settings_of(summary.path) for summary in summaries])
    return Comparison(
        runs=tuple(_shown_path(summary.path) for summary in summaries),
        settings={key: row for key, row in settings.items() if any(v != row[0] for v in row)},
        metrics=_side_by_side([_metrics(summary.record) for summary in summaries]),
    )


def rm(runs: Sequence[Path], root: Path, *, force: bool = False) -> Removed:
    """Delete runs.

    Args:
        runs: Each as for `show`, but a name must have a single run.
        root: The runs folder; nothing outside it is ever deleted.
        force: Whether to delete even runs that a process works on.

    Raises:
        InputMissing: If there is no such run; then nothing was deleted.
        UsageError: If a name has several runs, or a run is not under `root`.
        TryAgain: If a process works on a run and `force` is not set.
    """
    paths = list(dict.fromkeys(_single_run(run, root) for run in runs))
    freed_bytes = sum(remove_run(path, root, force=force) for path in paths)
    return Removed(tuple(map(_shown_path, paths)), freed_bytes)


def settings_of(run: Path) -> dict[str, Any]:
    """Return the resolved spec of a run as key paths and values; empty if it has none."""
    from modelscale.spec.yaml_events import parse

    path = run / RESOLVED_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    try:
        tree = parse(text, str(path))
    except SpecError as error:
        raise DataError(str(error)) from None
    if tree.faults:
        raise DataError("\n".join(map(str, tree.faults)))
    return _flat(tree.data) if isinstance(tree.data, dict) else {}


def _readable(path: Path) -> RunSummary:
    summary = summary_of(path)
    if summary.record is None:
        raise DataError(str(summary.fault))
    return summary


def _single_run(run: Path, root: Path) -> Path:
    path = find_run(run, root)
    for place in (run, root / run):
        several = (
            run_folders(place) if place.is_dir() and path.parent == place.resolve() else []
        )
        if len(several) > 1:
            names = ", ".join(inner.name for inner in several)
            raise UsageError(f"{run}: has {len(several)} runs; say which: {names}")
    return path


def _row(run: RunSummary) -> RunRow:
    record = run.record
    note = run.fault or (f"{run.holder}" if run.holder else "")
    return RunRow(
        path=_shown_path(run.path),
        name=run.name,
        status=run.status,
        created=record.created if record else None,
        command=" ".join(record.command) if record else "",
        metrics=_metrics(record),
        note=note,
    )


def _metrics(record: RunRecord | None) -> dict[str, Any]:
    """Return a result's `metrics.<split>.<metric>` as `split/metric` and its value alone."""
    metrics = record.result.get("metrics") if record else None
    if not isinstance(metrics, dict):
        return {}
    return {
        f"{split}/{name}": metric.get("value") if isinstance(metric, dict) else metric
        for split, inner in metrics.items()
        if isinstance(inner, dict)
        for name, metric in inner.items()
    }


def _side_by_side(columns: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    keys = dict.fromkeys(key for column in columns for key in column)
    return {key: tuple(column.get(key) for column in columns) for key in keys}


def _flat(data: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat


def _shown_path(path: Path) -> str:
    """Return a path relative to the working directory where it is below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
