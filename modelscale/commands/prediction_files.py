"""Files of predictions: CSV, JSON lines or Parquet; written in pieces, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol

from modelscale.errors import UsageError, missing_extra
from modelscale.evaluation.metrics._edits import text_of
from modelscale.evaluation.metrics._translations import FORCED
from modelscale.runs.atomic import PART, fsync_folder, storage_errors
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor

Format = Literal["csv", "jsonl", "parquet"]
_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
LETTERS_FROM: dict[Task, tuple[int, int]] = {
    "transcription": (0, 0),
    "translation": (FORCED, 1),
}
"""Tasks whose answers are texts, and how many numbers stand before the letters of an answer and
of a target."""


@dataclass(frozen=True)
class Columns:
    """What a row of predictions says.

    Attributes:
        task: What was learnt.
        labels: Names of the classes.
        targets: Names of the target values.
        threshold: Probability of the second of two classes above which it is decided for;
            None decides for the most probable class.
        examples: What people know the examples by, by column, such as their files.
    """

    task: Task
    labels: tuple[str, ...]
    targets: tuple[str, ...]
    threshold: float | None = None
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Return the names of the columns; those of the run's own tables of predictions."""
        known = ("row", *self.examples)
        if self.task in LETTERS_FROM:
            return (*known, "prediction")
        if self.task == "classification":
            return (*known, "prediction", *[f"p({label})" for label in self.labels])
        return (*known, *[f"prediction({name})" for name in self.targets])

    def rows(self, first: int, predictions: Tensor) -> Iterator[list[Any]]:
        """Yield the rows of a piece: number of the example from 0, names, answer, numbers."""
        for row, *values in self._answers(first, predictions):
            yield [row, *[names[row] for names in self.examples.values()], *values]

    def _answers(self, first: int, predictions: Tensor) -> Iterator[list[Any]]:
        if self.task in LETTERS_FROM:
            for row, codes in enumerate(predictions.tolist(), first):
                yield [row, text_of(codes[LETTERS_FROM[self.task][0] :])]
            return
        for row, numbers in enumerate(predictions.tolist(), first):
            if self.task == "classification":
                best = max(range(len(numbers)), key=numbers.__getitem__)
                if self.threshold is not None:
                    best = int(numbers[1] > self.threshold)
                yield [row, self.labels[best], *numbers]
            else:
                yield [row, *numbers]


class PredictionFile(Protocol):
    """A table of predictions that grows."""

    def add(self, first: int, predictions: Tensor) -> None:
        """Add the answers (N, C) or (N, T) of examples from `first` on."""


def format_of(path: Path) -> Format:
    """Return the format that a file's extension means.

    Raises:
        UsageError: If it means none.
        Unavailable: If it needs an extra that is not installed.
    """
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        raise UsageError(f"--output {path}: is not named like a table ({', '.join(_FORMATS)})")
    if found == "parquet":
        _pyarrow(path)
    return found


def as_csv(columns: Columns, first: int, predictions: Tensor) -> str:
    """Return rows as CSV; the head goes before the first one."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if first == 0:
        table.writerow(columns.names())
    for row in columns.rows(first, predictions):
        table.writerow([f"{v:.9g}" if isinstance(v, float) else v for v in row])
    return text.getvalue()


def as_jsonl(columns: Columns, first: int, predictions: Tensor) -> str:
    """Return rows as JSON objects, one a line; numbers that are not finite are null."""
    lines = []
    for row, *rest in columns.rows(first, predictions):
        entry: dict[str, Any] = {"row": row}
        entry |= dict(zip(columns.examples, rest, strict=False))
        values = rest[len(columns.examples) :]
        if columns.task == "classification":
            label, *shares = values
            named = dict(zip(columns.labels, map(_finite, shares), strict=True))
            entry |= {"prediction": label, "probabilities": named}
        elif columns.task in LETTERS_FROM:
            entry |= {"prediction": values[0]}
        else:
            named = dict(zip(columns.targets, map(_finite, values), strict=True))
            entry |= {"prediction": named}
        lines.append(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n")
    return "".join(lines)


def _finite(value: float) -> float | None:
    # Nine digits hold every float32.
    return float(f"{value:.9g}") if math.isfinite(value) else None


@dataclass(frozen=True)
class TextTable:
    """Predictions as text.

    Attributes:
        columns: What a row says.
        put: Takes whole lines, without the last line's end.
        write: Makes them.
    """

    columns: Columns
    put: Callable[[str], None]
    write: Callable[[Columns, int, Tensor], str]

    def add(self, first: int, predictions: Tensor) -> None:
        self.put(self.write(self.columns, first, predictions).removesuffix("\n"))


class ParquetTable:
    """Predictions as a Parquet file; a row group a piece."""

    def __init__(self, columns: Columns, path: Path, stream: IO[bytes]) -> None:
        pa, pq = _pyarrow(path)
        text = dict.fromkeys((*columns.examples, "prediction"), pa.string())
        words = {"row": pa.int64(), **text}
        fields = [(name, words.get(name, pa.float32())) for name in columns.names()]
        self.columns, self._pa = columns, pa
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(stream, self._schema)

    def add(self, first: int, predictions: Tensor) -> None:
        cells = list(zip(*self.columns.rows(first, predictions), strict=True))
        arrays = [
            self._pa.array(values, field.type)
            for values, field in zip(cells, self._schema, strict=True)
        ]
        self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the file's end."""
        self._writer.close()


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise missing_extra("pyarrow", "parquet", f"writing {path}") from None
    return pa, pq


@contextmanager
def writing(path: Path, columns: Columns) -> Iterator[PredictionFile]:
    """Yield a table that is at `path` once the block has ended well, and nowhere otherwise.

    Raises:
        CannotCreate: If it cannot be created there.
        StorageError: If the disk is full or broken.
    """
    part = path.with_name(f".{path.name}-{os.getpid()}{PART}")
    with storage_errors(path):
        stream = part.open("xb")
    try:
        with stream:
            table = _table(path, columns, stream)
            yield _Guarded(table, path)
            with storage_errors(path):
                if isinstance(table, ParquetTable):
                    table.close()
                stream.flush()
                os.fsync(stream.fileno())
        with storage_errors(path):
            part.replace(path)
            fsync_folder(path.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _table(path: Path, columns: Columns, stream: IO[bytes]) -> TextTable | ParquetTable:
    kind = format_of(path)
    if kind == "parquet":
        return ParquetTable(columns, path, stream)

    def put(lines: str) -> None:
        stream.write(lines.encode() + b"\n")

    return TextTable(columns, put, as_csv if kind == "csv" else as_jsonl)


@dataclass(frozen=True)
class _Guarded:
    """A table whose failures to write are told as such."""

    table: PredictionFile
    path: Path

    def add(self, first: int, predictions: Tensor) -> None:
        with storage_errors(self.path):
            self.table.add(first, predictions)
