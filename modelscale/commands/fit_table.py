"""Tables of measured points: which column is what, and its cells as numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.cells import Cell

    Array = NDArray[np.float64]

ALIASES: dict[str, tuple[str, ...]] = {
    "parameters": ("params", "n", "model_size", "n_params", "num_params", "n_parameters"),
    "tokens": (
        "d",
        "training_tokens",
        "n_tokens",
        "examples",
        "seen_examples",
        "n_examples",
        "samples",
    ),
    "unique_tokens": ("unique_examples", "u"),
    "compute": ("c", "flop", "flops", "training_flop", "training_flops", "training_compute"),
    "size": ("x",),
    "loss": (
        "l",
        "y",
        "val_loss",
        "validation_loss",
        "test_loss",
        "error",
        "error_rate",
        "test_error",
        "rmse",
        "log_loss",
    ),
    "weight": ("weights",),
    "seed": ("seeds",),
    "group": ("run",),
}
"""What a column is, by its name in small letters with other characters as `_`."""

CURVE_ROLES = ("domain", "task", "model", "seen_examples", "loss", "training")
_MISSING = frozenset({"", "NA", "NaN", "nan", "null", "?"})
_CHUNK = 8192


@dataclass(frozen=True)
class Table:
    """A table as it was read.

    Attributes:
        path: Where it came from.
        columns: Cells by column name.
        first_row: Number of the first row of cells, as a spreadsheet counts for CSV.
        digest: sha256 of the file.
    """

    path: Path
    columns: dict[str, list[Cell]]
    first_row: int
    digest: str

    def numbers(self, column: str, rows: Sequence[int], *, positive: bool) -> Array:
        """Return cells of a column as numbers.

        Args:
            column: Its name.
            rows: Which, from 0.
            positive: Whether they must be above 0.

        Raises:
            DataError: If one is missing, no number, or not positive.
        """
        import numpy as np

        from modelscale.data.cells import NUMBER, parse
        from modelscale.data.reading import shown

        cells = [self.columns[column][row] for row in rows]
        values, kinds = parse(cells, _MISSING)
        for row, cell, value, kind in zip(rows, cells, values, kinds, strict=True):
            whole_number = _as_float(cell) if kind != NUMBER else value
            if whole_number is None:
                fault = (
                    "is missing"
                    if cell in _MISSING
                    else f"expected a number, got {shown(cell)}"
                )
                raise DataError(f"{self._at(row, column)}: {fault}")
            if positive and not whole_number > 0:
                raise DataError(
                    f"{self._at(row, column)}: must be above 0, got {shown(cell)}; a law is "
                    "fitted to logarithms"
                )
        return np.array([_as_float(cell) for cell in cells], dtype=float)

    def words(self, column: str) -> list[str]:
        """Return all cells of a column as text."""
        return ["" if cell is None else str(cell) for cell in self.columns[column]]

    def _at(self, row: int, column: str) -> str:
        return f"{self.path}: row {row + self.first_row}, column '{column}'"

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def _as_float(cell: Cell) -> float | None:
    """Return a cell as a number, also a whole one that float64 rounds; None if it is none."""
    import math

    from modelscale.data.cells import NUMBER, TOO_LARGE, parse

    kind = int(parse([cell], _MISSING).kind_N[0])
    if kind not in {NUMBER, TOO_LARGE} or cell is None:
        return None
    try:
        value = float(cell)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def read_table(path: Path) -> Table:
    """Read a CSV, TSV or Parquet file whole.

    Raises:
        InputMissing: If it is not there.
        DataError: If it is damaged, or has no rows.
        UsageError: If its name says no format.
    """
    from modelscale.data.csv_file import CsvFile, CsvForm
    from modelscale.data.parquet_file import ParquetTable
    from modelscale.data.reading import open_regular

    suffix = path.suffix.lower()
    file: CsvFile | ParquetTable
    if suffix == ".parquet":
        file = ParquetTable(path)
    elif suffix in {".csv", ".tsv"}:
        file = CsvFile(path, CsvForm("\t" if suffix == ".tsv" else ","))
    else:
        open_regular(path).close()
        raise UsageError(f"{path}: expected a .csv, .tsv or .parquet file")
    columns: dict[str, list[Cell]] = {name: [] for name in file.names()}
    for chunk in file.chunks(_CHUNK):
        for name, cells in chunk.items():
            columns[name] += list(cells)
    table = Table(path, columns, file.first_row, file.digest())
    if not len(table):
        raise DataError(f"{path}: has column names and no rows")
    return table


def roles_of(table: Table, given: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Return the column of each role that the table has.

    Args:
        table: The table.
        given: What the user says: `role=column`.
        known: The roles that there are.

    Raises:
        UsageError: If a role or column does not exist.
        DataError: If two columns could be the same role.
    """
    roles: dict[str, str] = {}
    for text in given:
        role, equals, column = text.partition("=")
        if not equals or not column:
            raise UsageError(f"--columns {text}: expected ROLE=COLUMN, such as loss=val_loss")
        if role not in known:
            raise UsageError(
                f"--columns {text}: unknown role {role!r}{did_you_mean(role, known)}"
            )
        if column not in table.columns:
            hint = did_you_mean(column, table.columns)
            raise UsageError(f"--columns {text}: {table.path} has no column {column!r}{hint}")
        roles[role] = column
    for role in known:
        if role in roles:
            continue
        names = {role, *ALIASES.get(role, ())}
        fits = [c for c in table.columns if _plain(c) in names and c not in roles.values()]
        exact = [c for c in fits if _plain(c) == role]
        chosen = exact or fits
        if len(chosen) > 1:
            raise DataError(
                f"{table.path}: row 1: {' and '.join(map(repr, chosen))} could both be the "
                f"{role}; say which: --columns '{role}={chosen[0]}'"
            )
        if chosen:
            roles[role] = chosen[0]
    return roles


def need(table: Table, roles: Mapping[str, str], role: str) -> str:
    """Return the column of a role.

    Raises:
        DataError: If the table has none.
    """
    if role not in roles:
        raise DataError(
            f"{table.path}: row 1: no column is the {role}; name it: --columns '{role}=COLUMN' "
            f"(columns: {', '.join(map(repr, table.columns))})"
        )
    return roles[role]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")
