"""Columns of a file that predictions carry along, such as the number of an account."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from modelscale.commands.trained_model import TrainedModel

_ROWS = 4096


def kept_columns(
    trained: TrainedModel, data: str, wanted: Sequence[str], taken: Collection[str]
) -> dict[str, list[str]]:
    """Return the texts of some columns of a table by row, as the file has them.

    Args:
        trained: Whose run says how such a file is read.
        data: The file.
        wanted: Names of the columns.
        taken: Names that predictions have already.

    Raises:
        DataError: If the file lacks a column.
        UsageError: If the data is no table, or a name is taken.
    """
    from modelscale.data.cells import as_words
    from modelscale.data.opening import source_of
    from modelscale.data.sources._table import TableSource

    if not wanted:
        return {}
    path = Path(data)
    source = None
    if path.is_file():
        like = None if trained.experiment is None else trained.experiment.data.source
        source = source_of(path, like)
    if not isinstance(source, TableSource):
        raise UsageError(f"--keep: {data} is no table of columns")
    file = source.file()
    there = file.names()
    for name in wanted:
        if name not in there:
            raise DataError(f"{path}: no column '{name}'{did_you_mean(name, there)}")
        if name in taken:
            raise UsageError(f"--keep {name}: predictions have a column of that name")
    kept: dict[str, list[str]] = {name: [] for name in wanted}
    for chunk in file.chunks(_ROWS):
        for name, words in kept.items():
            words += [word or "" for word in as_words(chunk[name], frozenset())]
    return kept
