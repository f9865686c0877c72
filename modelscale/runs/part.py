"""A part of a run that is measured and saved by itself: the run, a trial, a seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelscale.errors import DataError
from modelscale.runs import atomic
from modelscale.runs.checkpoints import CheckpointStore
from modelscale.runs.metric_log import MetricLog, TimingLog

CHECKPOINTS = "checkpoints"
METRICS = "metrics.jsonl"
TIMINGS = "timings.jsonl"
RESULT = "result.json"


class RunPart:
    """A folder with metrics, checkpoints and a result of its own."""

    def __init__(self, path: Path, *, owner: bool = False) -> None:
        """Open the part at `path`.

        Args:
            path: Its folder.
            owner: Whether the caller holds the run's lock and may write.
        """
        self.path = path
        self._owner = owner

    def metrics(self) -> MetricLog:
        """Open `metrics.jsonl` to write; `rewind` it before the first line."""
        return MetricLog(self.path / METRICS)

    def timings(self) -> TimingLog:
        """Open `timings.jsonl` to write: what may differ between two equal runs."""
        return TimingLog(self.path / TIMINGS)

    def checkpoints(self) -> CheckpointStore:
        """Open the checkpoints; only the run's owner may save or delete any."""
        return CheckpointStore(self.path / CHECKPOINTS, owner=self._owner)

    def write(self, name: str, data: bytes) -> Path:
        """Write a file of the part, such as `predictions-test.csv`, durably."""
        assert name[:1] not in {"", "."}
        assert "/" not in name
        path = self.path / name
        atomic.write_file(path, data)
        return path

    def remove(self, name: str) -> None:
        """Delete a part within this one, such as `cohorts/0008`, if it is there."""
        path = self.path.joinpath(*name.split("/"))
        if path.is_dir():
            atomic.retire_folder(path)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write `result.json` durably: afterwards the part is finished for good."""
        atomic.write_json(self.path / RESULT, dict(result))

    def result(self) -> dict[str, Any] | None:
        """Return what `write_result` wrote; None if it has not yet.

        Raises:
            DataError: If the file is damaged.
        """
        path = self.path / RESULT
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: damaged: {error}") from None
        if not isinstance(value, dict):
            raise DataError(f"{path}: damaged: not a JSON object")
        return value

    def sub(self, name: str) -> RunPart:
        """Make or open a part within this one, such as `trials/0007` or `seeds/3`."""
        words = name.split("/")
        assert all(word and word[0] not in "./" for word in words), name
        path = self.path.joinpath(*words)
        atomic.make_folder(path)
        if self._owner:
            atomic.remove_leftovers(path)
        return RunPart(path, owner=self._owner)
