"""The rows of tables of readings, in order of unit and time; read strictly."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelscale.data.cells import Marks
from modelscale.data.raw import Texts
from modelscale.data.reading import shown
from modelscale.data.tables import TableColumns, read_table
from modelscale.errors import DataError, InputMissing, UsageError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.raw import Raw
    from modelscale.data.reading import Reading
    from modelscale.data.sources.series import SeriesSource
    from modelscale.data.tables import TableFile

ENDS = {".csv": "csv", ".tsv": "csv", ".txt": "txt", ".parquet": "parquet", ".pq": "parquet"}
LARGEST = 3.4028234663852886e38  # of single precision


@dataclass(frozen=True)
class Steps:
    """The rows of one table in order of unit and time.

    Attributes:
        columns: (L,) values of each input.
        target: (L,) of the target column, if one is wanted.
        time_L: (L,) time.
        unit_L: (L,) index into `units`, ascending.
        units: Names.
        fingerprint: sha256 of what was read.
        skipped: Columns that were not read, and why.
        dated: Whether times are seconds since 1970 of dates.
    """

    columns: dict[str, NDArray[np.float64]]
    target: NDArray[np.float64] | Texts | None
    time_L: NDArray[np.float64]
    unit_L: NDArray[np.int32]
    units: tuple[str, ...]
    fingerprint: str
    skipped: dict[str, str]
    dated: bool = False


def read_steps(source: SeriesSource, path: Path, how: Reading) -> Steps:
    """Return the steps of a table or of a folder of tables."""
    if not path.is_dir():
        return _read_file(source, path, how, path.stem)
    files = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    if not files:
        raise InputMissing(f"{path}: has no tables")
    found = [_read_file(source, file, how, file.stem) for file in files]
    first = found[0]
    for file, steps in zip(files, found, strict=True):
        if set(steps.columns) != set(first.columns):
            odd = sorted(set(steps.columns) ^ set(first.columns))[0]
            raise DataError(f"{file}: column '{odd}' is not in all files ({files[0].name})")
    return _stacked(found)


def _stacked(found: list[Steps]) -> Steps:
    import numpy as np

    first = found[0]
    units = tuple(dict.fromkeys(unit for steps in found for unit in steps.units))
    if len(units) < sum(len(steps.units) for steps in found):
        raise DataError(f"unit {shown(_twice(found))} is in two files")
    offsets = np.cumsum([0, *(len(steps.units) for steps in found)])
    target: NDArray[np.float64] | Texts | None = None
    if first.target is not None:
        target = one_target([steps.target for steps in found])
    sha = hashlib.sha256("".join(steps.fingerprint for steps in found).encode())
    return Steps(
        {name: np.concatenate([s.columns[name] for s in found]) for name in first.columns},
        target,
        np.concatenate([steps.time_L for steps in found]),
        np.concatenate([s.unit_L + o for s, o in zip(found, offsets[:-1], strict=True)]).astype(
            np.int32
        ),
        units,
        sha.hexdigest(),
        first.skipped,
        first.dated,
    )


def _twice(found: list[Steps]) -> str:
    seen: set[str] = set()
    for unit in (unit for steps in found for unit in steps.units):
        if unit in seen:
            return unit
        seen.add(unit)
    raise AssertionError("no unit is twice")


def one_target(parts: list[NDArray[np.float64] | Texts | None]) -> NDArray[np.float64] | Texts:
    """Return the targets of several files as one; text wins, as in one file."""
    import numpy as np

    words: dict[str, int] = {}
    codes, numbers = [], []
    for part in parts:
        if isinstance(part, Texts):
            code_W = np.array([words.setdefault(w, len(words)) for w in part.words], np.int32)
            codes.append(np.where(part.codes_N < 0, -1, code_W[part.codes_N]).astype(np.int32))
        else:
            assert part is not None
            numbers.append(part)
    if codes and numbers:
        raise DataError("the target is text in some files and numbers in others")
    return Texts(np.concatenate(codes), tuple(words)) if codes else np.concatenate(numbers)


def _read_file(source: SeriesSource, path: Path, how: Reading, name: str) -> Steps:
    """Return the steps of one file, in order."""
    import numpy as np

    file = _file(source, path)
    target = () if source.target is None else (source.target,)
    special = TableColumns(
        target,
        source.unit,
        source.time,
        missing=frozenset(source.missing),
        time_format=source.time_format,
        marks=Marks(source.decimal),
    )
    if source.next and how.only:
        how = replace(how, roles={**dict.fromkeys(source.next, "numeric"), **how.roles})
    raw = read_table(file, special, how)
    columns = _columns(source, path, raw, file.first_row)
    rows = len(next(iter(columns.values())))
    time_L = np.arange(rows, dtype=np.float64) if raw.times is None else np.asarray(raw.times)
    unit_L = np.zeros(rows, dtype=np.int32)
    units: tuple[str, ...] = (name,)
    if raw.groups is not None:
        unit_L, units = np.asarray(raw.groups, dtype=np.int32), raw.group_names
    order_L = np.lexsort((time_L, unit_L))
    if (np.diff(order_L) != 1).any():
        columns = {column: cells[order_L] for column, cells in columns.items()}
    time_L, unit_L = time_L[order_L], unit_L[order_L]
    same_L = (np.diff(time_L) == 0) & (np.diff(unit_L) == 0)
    if same_L.any():
        first = int(same_L.argmax())
        one, other = sorted(int(row) + file.first_row for row in order_L[first : first + 2])
        raise DataError(
            f"{path}: row {other}, column '{source.time}': unit {shown(units[unit_L[first]])} "
            f"has this time in row {one} too"
        )
    if source.fill == "previous":
        columns = {name: _filled(cells, unit_L) for name, cells in columns.items()}
    found = _ordered(path, source.target, raw.target, order_L, file.first_row)
    return Steps(columns, found, time_L, unit_L, units, raw.fingerprint, raw.skipped, raw.dated)


def _columns(
    source: SeriesSource, path: Path, raw: Raw, first_row: int
) -> dict[str, NDArray[np.float64]]:
    """Return the inputs, all of numbers."""
    for wanted in source.next:
        if wanted not in raw.columns:
            raise DataError(f"{path}: no column '{wanted}'{did_you_mean(wanted, raw.columns)}")
    for column, why in raw.skipped.items():
        if "different texts" in why:
            raise DataError(f"{path}: column '{column}': {_text_hint(column)}")
    if not raw.columns:
        raise DataError(f"{path}: no column is left to learn from")
    return {n: _numbers(path, n, cells, first_row) for n, cells in raw.columns.items()}


def _ordered(
    path: Path,
    name: str | None,
    target: NDArray[np.float64] | Texts | None,
    order_L: NDArray[np.int64],
    first_row: int,
) -> NDArray[np.float64] | Texts | None:
    """Return the target of the steps in their order; no step may lack it."""
    import numpy as np

    if target is None:
        return None
    missing_N = target.codes_N < 0 if isinstance(target, Texts) else np.isnan(target)
    if missing_N.any():
        row = first_row + int(missing_N.argmax())
        raise DataError(f"{path}: row {row}, target '{name}': is missing")
    if isinstance(target, Texts):
        return Texts(target.codes_N[order_L], target.words)
    return target[order_L]


def _file(source: SeriesSource, path: Path) -> TableFile:
    from modelscale.data.csv_file import CsvFile, CsvForm
    from modelscale.data.parquet_file import ParquetTable
    from modelscale.data.plain_file import PlainFile

    kind = ENDS.get(path.suffix.lower())
    if kind is None and path.exists():
        raise UsageError(f"{path}: is not named like a table of readings ({', '.join(ENDS)})")
    if kind == "parquet":
        return ParquetTable(path)
    if kind == "txt":
        return PlainFile(path, source.names)
    return CsvFile(path, CsvForm("\t" if path.suffix.lower() == ".tsv" else source.delimiter))


def _numbers(
    path: Path, column: str, cells: NDArray[np.float64] | Texts, first_row: int
) -> NDArray[np.float64]:
    """Return an input's values, all within single precision."""
    import numpy as np

    if isinstance(cells, Texts):
        code_N = np.asarray(cells.codes_N)
        if (code_N < 0).all():  # nothing but missing cells has no type of its own
            return np.full(len(code_N), np.nan)
        row = int(np.argmax(code_N >= 0))
        told = f"{shown(cells.words[code_N[row]])} is not a number; {_text_hint(column)}"
        raise DataError(f"{path}: row {first_row + row}, column '{column}': {told}")
    with np.errstate(invalid="ignore"):
        large_N = np.abs(cells) > LARGEST
    if large_N.any():
        row = int(large_N.argmax())
        raise DataError(
            f"{path}: row {first_row + row}, column '{column}': {cells[row]} is beyond single "
            "precision"
        )
    return cells


def _text_hint(column: str) -> str:
    return f"series are of numbers: say data.columns: {{{column}: ignore}}"


def _filled(cells: NDArray[np.float64], unit_L: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return cells with each missing one taken from before, within its unit."""
    import numpy as np

    place_L = np.arange(len(cells))
    known_L = np.maximum.accumulate(np.where(np.isnan(cells), -1, place_L))
    begins_L = np.searchsorted(unit_L, unit_L, side="left")
    return np.where(known_L >= begins_L, cells[np.maximum(known_L, 0)], np.nan)
