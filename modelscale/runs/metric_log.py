"""`metrics.jsonl` and `timings.jsonl`: what was measured, one JSON object a line.

A resumed run repeats the steps since its last checkpoint. The metric log has a cursor: the
checkpoint records how many lines there were, `rewind` goes back there, and appending where a
line exists already compares instead of writing. So no line is lost or doubled, and the file
of a resumed run is byte for byte that of an undisturbed one. That is why seconds have a file
of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelscale.errors import DataError
from modelscale.runs.atomic import encode_json
from modelscale.runs.line_file import LineFile, garbage, read_lines


class MetricLog:
    """The metric lines of a run, with a cursor that normally is at the end."""

    def __init__(self, path: Path) -> None:
        """Open or create the log; a last line that is cut off moves to `metrics.jsonl.torn`.

        Raises:
            CannotCreate: If it cannot be written to.
            StorageError: If the disk is full or broken.
        """
        self._file = LineFile(path)
        self._cursor = len(self._file)

    @property
    def path(self) -> Path:
        """Where the log is."""
        return self._file.path

    @property
    def lines(self) -> int:
        """How many lines are before the cursor; what a checkpoint records."""
        return self._cursor

    def rewind(self, lines: int) -> None:
        """Go back to where there were `lines` lines; the start of every resumed training.

        Call it with 0 to train from the beginning.

        Raises:
            DataError: If the log has fewer lines, or one of them is not a JSON object.
        """
        if lines > len(self._file):
            raise DataError(
                f"{self.path}: {len(self._file)} lines, but the checkpoint was written "
                f"after line {lines}; lines were removed"
            )
        if self._file.bad_line is not None:
            if self._file.bad_line < lines:
                raise garbage(self.path, self._file.bad_line)
            self._file.cut(self._file.bad_line)  # all from here on is about to be repeated
        self._cursor = lines

    def append(self, record: Mapping[str, Any]) -> None:
        """Put a record at the cursor.

        Where a line exists and is equal, the cursor just moves on. If it differs, the resumed
        run is not exact: that line and all after it move to `metrics.jsonl.torn`. A number
        that is not finite becomes null, and `nonfinite` says what it was, by key.

        Raises:
            DataError: If an earlier line is not a JSON object.
            StorageError: If the disk is full or broken.
        """
        if self._file.bad_line is not None:
            raise garbage(self.path, self._file.bad_line)
        line = metric_line(record)
        if self._cursor < len(self._file):
            if self._file.line(self._cursor) == line:
                self._cursor += 1
                return
            self._file.cut(self._cursor)
        self._file.append(line)
        self._cursor += 1

    def drop_rest(self) -> None:
        """End the log at the cursor; lines that an inexact resume did not repeat move away."""
        self._file.cut(self._cursor)

    def sync(self) -> None:
        """Make all lines durable; to be called before a checkpoint counts them."""
        self._file.sync()

    def close(self) -> None:
        """Make all lines durable and close the file; again is fine."""
        self._file.close()


class TimingLog:
    """The lines of `timings.jsonl`: seconds and speeds, kept from every attempt."""

    def __init__(self, path: Path) -> None:
        """Open or create the log; a last line that is cut off moves to `timings.jsonl.torn`."""
        self._file = LineFile(path)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record at the end; numbers that are not finite are treated as in metrics."""
        self._file.append(metric_line(record))

    def close(self) -> None:
        """Make all lines durable and close the file; again is fine."""
        self._file.close()


def metric_line(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line of strict JSON, without its end."""
    nonfinite: dict[str, str] = {}
    clean = {str(key): _finite(value, str(key), nonfinite) for key, value in record.items()}
    if nonfinite:
        clean["nonfinite"] = nonfinite
    return encode_json(json.dumps(clean, allow_nan=False, ensure_ascii=False))


def _finite(value: Any, place: str, nonfinite: dict[str, str]) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        nonfinite[place] = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
        return None
    if isinstance(value, Mapping):
        return {
            str(key): _finite(inner, f"{place}.{key}", nonfinite)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_finite(inner, f"{place}.{i}", nonfinite) for i, inner in enumerate(value)]
    return value


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a metric or timing log, without a last line that is cut off.

    Raises:
        DataError: If a line in the middle is not a JSON object; says which.
    """
    return read_lines(path)
