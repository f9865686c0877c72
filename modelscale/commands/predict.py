"""`modelscale predict`: a trained model's answers for the rows of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelscale.commands.kept_columns import kept_columns
from modelscale.commands.prediction_files import (
    Columns,
    TextTable,
    as_csv,
    format_of,
    writing,
)
from modelscale.commands.thresholds import threshold
from modelscale.commands.trained_model import TrainedModel, read_named, shown, streamed
from modelscale.errors import CannotCreate


@dataclass(frozen=True)
class Predicted:
    """Answers that were written.

    Attributes:
        document: The command's keys of the JSON document.
    """

    document: dict[str, Any]
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return self.document


def check_output(output: Path, *, force: bool) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Raises:
        UsageError: If its name says no format.
        CannotCreate: If there is such a file already.
    """
    format_of(output)
    if output.is_dir() or (output.exists() and not force):
        hint = "" if output.is_dir() else "; --force overwrites it"
        raise CannotCreate(f"{output}: exists already{hint}")


def predict(
    trained: TrainedModel,
    data: str,
    output: Path | None,
    put: Callable[[str], None],
    *,
    decide: str | None = None,
    keep: Sequence[str] = (),
) -> Predicted:
    """Write a model's answers for all rows of some data; its targets are not looked at.

    Args:
        trained: The model.
        data: A file, a folder or a name of the catalogue.
        output: The file, by its extension CSV, JSON lines or Parquet; None for `put`.
        put: Takes the lines of a CSV file.
        decide: From which probability of the second class on it is decided for (see
            `thresholds.py`); None decides for the most probable class.
        keep: Columns of a table that stand beside the answers.

    Raises:
        DataError: If the data is not what the model takes.
        CannotCreate: If the output cannot be created.
        StorageError: If the disk is full or broken; then no output is left behind.
    """
    preprocessing = trained.model.preprocessing
    limit = None if decide is None else threshold(trained, decide)
    task, names = trained.model.task, preprocessing.target_names
    names = ("score",) if task == "ranking" else names
    raw = read_named(data, trained, with_target=False)
    columns = Columns(task, preprocessing.labels, names, limit, raw.names)
    kept = kept_columns(trained, data, keep, columns.names())
    columns = replace(columns, examples={**raw.names, **kept})
    if output is None:
        table = TextTable(columns, put, as_csv)
        for first, piece in streamed(trained, raw):
            table.add(first, piece)
    else:
        with writing(output, columns) as file:
            for first, piece in streamed(trained, raw):
                file.add(first, piece)
    return Predicted(
        {
            **trained.facts(),
            "data": {
                "origin": raw.origin,
                "fingerprint": raw.fingerprint,
                "rows": len(raw),
            },
            "output": None if output is None else shown(output),
            "columns": list(columns.names()),
            **({} if limit is None else {"threshold": limit}),
        }
    )
