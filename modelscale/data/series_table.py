"""From tables of readings to windows: order, gaps, targets; read strictly."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelscale.data.raw import Raw, Texts
from modelscale.data.reading import shown
from modelscale.data.series_windows import cut, last_of_units
from modelscale.data.tables import TableColumns, read_table
from modelscale.data.windows import Windows
from modelscale.errors import DataError, InputMissing, UsageError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.reading import Reading
    from modelscale.data.sources.series import SeriesSource
    from modelscale.data.tables import TableFile

ENDS = {".csv": "csv", ".tsv": "csv", ".txt": "txt", ".parquet": "parquet", ".pq": "parquet"}
LARGEST = 3.4028234663852886e38  # of single precision


@dataclass(frozen=True)
class _Steps:
    """The rows of one table in order of unit and time.

    Attributes:
        columns: (L,) values of each input.
        target: (L,) of the target column, if one is wanted.
        time_L: (L,) time.
        unit_L: (L,) index into `units`, ascending.
        units: Names.
        fingerprint: sha256 of what was read.
        skipped: Columns that were not read, and why.
    """

    columns: dict[str, NDArray[np.float64]]
    target: NDArray[np.float64] | Texts | None
    time_L: NDArray[np.float64]
    unit_L: NDArray[np.int32]
    units: tuple[str, ...]
    fingerprint: str
    skipped: dict[str, str]


def read_series(source: SeriesSource, how: Reading) -> Raw:
    """Return the windows of a source's tables.

    Raises:
        DataError: Naming the file, the row and the column of what is wrong.
        InputMissing: If a file is not there.
    """
    raw = _windows(source, _read(source, source.path, how), source.path, None)
    if source.test is None:
        return raw
    remaining = source.test.remaining
    steps = _read(source, source.test.path, how)
    lives = None if remaining is None else _lives(remaining, steps.units)
    test = _windows(source, steps, source.test.path, lives)
    if source.test.windows == "last":
        assert test.series is not None
        test = _some(test, last_of_units(test.series))
    return _joined(raw, test)


def _read(source: SeriesSource, path: Path, how: Reading) -> _Steps:
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


def _stacked(found: list[_Steps]) -> _Steps:
    import numpy as np

    first = found[0]
    units = tuple(dict.fromkeys(unit for steps in found for unit in steps.units))
    if len(units) < sum(len(steps.units) for steps in found):
        raise DataError(f"unit {shown(_twice(found))} is in two files")
    offsets = np.cumsum([0, *(len(steps.units) for steps in found)])
    target: NDArray[np.float64] | Texts | None = None
    if first.target is not None:
        target = _one_target([steps.target for steps in found])
    sha = hashlib.sha256("".join(steps.fingerprint for steps in found).encode())
    return _Steps(
        {name: np.concatenate([s.columns[name] for s in found]) for name in first.columns},
        target,
        np.concatenate([steps.time_L for steps in found]),
        np.concatenate([s.unit_L + o for s, o in zip(found, offsets[:-1], strict=True)]).astype(
            np.int32
        ),
        units,
        sha.hexdigest(),
        first.skipped,
    )


def _twice(found: list[_Steps]) -> str:
    seen: set[str] = set()
    for unit in (unit for steps in found for unit in steps.units):
        if unit in seen:
            return unit
        seen.add(unit)
    raise AssertionError("no unit is twice")


def _one_target(parts: list[NDArray[np.float64] | Texts | None]) -> NDArray[np.float64] | Texts:
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


def _read_file(source: SeriesSource, path: Path, how: Reading, name: str) -> _Steps:
    """Return the steps of one file, in order."""
    import numpy as np

    file = _file(source, path)
    target = () if source.target is None else (source.target,)
    special = TableColumns(target, source.unit, source.time, None, frozenset(source.missing))
    if source.next and how.only:
        how = replace(how, roles={**dict.fromkeys(source.next, "numeric"), **how.roles})
    raw = read_table(file, special, how)
    for wanted in source.next:
        if wanted not in raw.columns:
            raise DataError(f"{path}: no column '{wanted}'{did_you_mean(wanted, raw.columns)}")
    columns: dict[str, NDArray[np.float64]] = {}
    for column, cells in raw.columns.items():
        columns[column] = _numbers(path, column, cells, file.first_row)
    for column, why in raw.skipped.items():
        if "different texts" in why:
            raise DataError(f"{path}: column '{column}': {_text_hint(column)}")
    if not columns:
        raise DataError(f"{path}: no column is left to learn from")
    rows = len(next(iter(columns.values())))
    time_L = np.arange(rows, dtype=np.float64) if raw.times is None else np.asarray(raw.times)
    if raw.groups is None:
        unit_L, units = np.zeros(rows, dtype=np.int32), (name,)
    else:
        unit_L, units = np.asarray(raw.groups, dtype=np.int32), raw.group_names
    if source.time is None and raw.groups is not None:
        order_L = np.argsort(unit_L, kind="stable")
    else:
        order_L = np.lexsort((time_L, unit_L))
    time_L, unit_L = time_L[order_L], unit_L[order_L]
    same_L = (np.diff(time_L) == 0) & (np.diff(unit_L) == 0)
    if same_L.any():
        first = int(same_L.argmax())
        one, other = sorted(int(r) + file.first_row for r in order_L[first : first + 2])
        raise DataError(
            f"{path}: row {other}, column '{source.time}': unit {shown(units[unit_L[first]])} "
            f"has this time in row {one} too"
        )
    if (np.diff(order_L) != 1).any():
        columns = {column: cells[order_L] for column, cells in columns.items()}
    found = raw.target
    if found is not None:
        _refuse_missing(path, source.target, found, file.first_row)
        text = isinstance(found, Texts)
        found = Texts(found.codes_N[order_L], found.words) if text else found[order_L]
    if source.fill == "previous":
        columns = {name: _filled(cells, unit_L) for name, cells in columns.items()}
    return _Steps(columns, found, time_L, unit_L, units, raw.fingerprint, raw.skipped)


def _file(source: SeriesSource, path: Path) -> TableFile:
    from modelscale.data.csv_file import CsvFile
    from modelscale.data.parquet_file import ParquetTable
    from modelscale.data.plain_file import PlainFile

    kind = ENDS.get(path.suffix.lower())
    if kind is None and path.exists():
        raise UsageError(f"{path}: is not named like a table of readings ({', '.join(ENDS)})")
    if kind == "parquet":
        return ParquetTable(path)
    if kind == "txt":
        return PlainFile(path, source.names)
    return CsvFile(path, "\t" if path.suffix.lower() == ".tsv" else source.delimiter)


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


def _refuse_missing(
    path: Path, name: str | None, target: NDArray[np.float64] | Texts, first_row: int
) -> None:
    import numpy as np

    text = isinstance(target, Texts)
    missing_N = np.asarray(target.codes_N) < 0 if text else np.isnan(np.asarray(target))
    if missing_N.any():
        row = first_row + int(missing_N.argmax())
        raise DataError(f"{path}: row {row}, target '{name}': is missing")


def _filled(cells: NDArray[np.float64], unit_L: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return cells with each missing one taken from before, within its unit."""
    import numpy as np

    place_L = np.arange(len(cells))
    known_L = np.maximum.accumulate(np.where(np.isnan(cells), -1, place_L))
    begins_L = np.searchsorted(unit_L, unit_L, side="left")
    return np.where(known_L >= begins_L, cells[np.maximum(known_L, 0)], np.nan)


def _windows(
    source: SeriesSource, steps: _Steps, path: Path, lives: NDArray[np.float64] | None
) -> Raw:
    """Return the windows of steps with their targets."""
    import numpy as np

    ahead = source.horizon if source.next else 0
    places = cut(steps.unit_L, steps.time_L, source, ahead)
    if not len(places.start_N):
        raise DataError(
            f"{path}: no series is long enough for a window"
            + (f" of {source.length} steps" if source.length else "")
            + (f" and {ahead} more to predict" if ahead else "")
        )
    windows = Windows(
        columns=steps.columns,
        start_N=places.start_N,
        length_N=places.length_N,
        positions=source.length or int(places.length_N.max()),
        time_L=steps.time_L,
        unit_N=steps.unit_L[places.start_N],
        units=steps.units,
        ahead=ahead,
    )
    target, names = _target(source, steps, windows, lives)
    if isinstance(target, np.ndarray) and np.isnan(target).any():
        first = int(np.argmax(np.isnan(target).reshape(len(target), -1).any(axis=1)))
        unit, at = windows.units[windows.unit_N[first]], windows.time_L[windows.last_N[first]]
        raise DataError(
            f"{path}: unit {shown(unit)}, after time {at:g}: a value to predict is missing; "
            "data.source.fill: previous fills it in"
        )
    return Raw(
        target=target,
        target_names=names,
        fingerprint=steps.fingerprint,
        origin=str(path),
        series=windows,
        groups=windows.unit_N,
        group_names=steps.units,
        times=steps.time_L[windows.last_N],
        skipped=steps.skipped,
    )


def _target(
    source: SeriesSource, steps: _Steps, windows: Windows, lives: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64] | Texts | None, tuple[str, ...]]:
    import numpy as np

    last_N = windows.last_N
    if source.remaining_life is not None:
        final_L = np.searchsorted(steps.unit_L, steps.unit_L, side="right") - 1
        life_N = steps.time_L[final_L[last_N]] - steps.time_L[last_N]
        if lives is not None:
            life_N = life_N + lives[windows.unit_N]
        cap = source.remaining_life.cap
        return (life_N if cap is None else np.minimum(life_N, cap)), ("remaining_life",)
    if source.next:
        names = [f"{n}+{h}" for n in source.next for h in range(1, source.horizon + 1)]
        step_NH = last_N[:, None] + np.arange(1, source.horizon + 1)
        values = [steps.columns[name][step_NH] for name in source.next]
        return np.concatenate(values, axis=1), tuple(names)
    if steps.target is None or source.target is None:
        return None, ()
    if isinstance(steps.target, Texts):
        if source.target_of == "any":
            raise DataError(
                f"target '{source.target}': is text; target_of: any takes the largest number"
            )
        return Texts(steps.target.codes_N[last_N], steps.target.words), (source.target,)
    if source.target_of == "last":
        return steps.target[last_N], (source.target,)
    edges = np.stack([windows.start_N, last_N + 1], axis=1).reshape(-1)
    padded = np.append(steps.target, -np.inf)  # an edge may lie behind the last step
    return np.maximum.reduceat(padded, edges)[::2], (source.target,)


def _lives(path: Path, units: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the time that each unit still had, from a file of one number a line."""
    import numpy as np

    from modelscale.data.plain_file import PlainFile

    raw = read_table(PlainFile(path), TableColumns(), _plainly())
    (cells,) = raw.columns.values() if len(raw.columns) == 1 else (None,)
    if cells is None or isinstance(cells, Texts) or np.isnan(cells).any():
        raise DataError(f"{path}: must have one number a line")
    if len(cells) != len(units):
        raise DataError(f"{path}: has {len(cells)} rows, and there are {len(units)} units")
    return cells


def _plainly() -> Reading:
    from modelscale.data.reading import Reading

    return Reading()


def _some(raw: Raw, rows: NDArray[np.int64]) -> Raw:
    assert raw.series is not None
    target = raw.target
    if isinstance(target, Texts):
        target = Texts(target.codes_N[rows], target.words)
    elif target is not None:
        target = target[rows]
    assert raw.groups is not None
    assert raw.times is not None
    return replace(
        raw,
        series=raw.series.rows(rows),
        target=target,
        groups=raw.groups[rows],
        times=raw.times[rows],
    )


def _joined(train: Raw, test: Raw) -> Raw:
    """Return the windows of two tables as one, with the part that each is for."""
    import numpy as np

    one, two = train.series, test.series
    assert one is not None
    assert two is not None
    if set(one.columns) != set(two.columns):
        odd = sorted(set(one.columns) ^ set(two.columns))[0]
        raise DataError(f"{test.origin}: column '{odd}' is not in both tables")
    shift = len(one.units)
    windows = Windows(
        columns={n: np.concatenate([c, two.columns[n]]) for n, c in one.columns.items()},
        start_N=np.concatenate([one.start_N, two.start_N + one.steps]),
        length_N=np.concatenate([one.length_N, two.length_N]),
        positions=max(one.positions, two.positions),
        time_L=np.concatenate([one.time_L, two.time_L]),
        unit_N=np.concatenate([one.unit_N, two.unit_N + np.int32(shift)]),
        units=(*one.units, *(f"test {unit}" for unit in two.units)),
        ahead=one.ahead,
    )
    part_N = np.repeat(np.array([0, 1], dtype=np.int32), [len(one), len(two)])
    target = None
    if train.target is not None:
        target = _both_targets(train.target, test.target)
    sha = hashlib.sha256(f"{train.fingerprint}{test.fingerprint}".encode())
    return replace(
        train,
        target=target,
        series=windows,
        groups=windows.unit_N,
        group_names=windows.units,
        times=windows.time_L[windows.last_N],
        part=Texts(part_N, ("train", "test")),
        fingerprint=sha.hexdigest(),
        origin=f"{train.origin} and {test.origin}",
    )


def _both_targets(
    one: NDArray[np.float64] | Texts, two: NDArray[np.float64] | Texts | None
) -> NDArray[np.float64] | Texts:
    return _one_target([one, two])
