"""From tables of readings to windows: order, gaps, targets; read strictly."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelscale.data.raw import Names, Raw, Texts
from modelscale.data.reading import Reading, shown
from modelscale.data.series_steps import Steps, one_target, read_steps
from modelscale.data.series_windows import cut, last_of_units
from modelscale.data.tables import TableColumns, read_table
from modelscale.data.targets import as_text
from modelscale.data.windows import Windows
from modelscale.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.sources.series import SeriesSource


def read_series(source: SeriesSource, how: Reading) -> Raw:
    """Return the windows of a source's tables.

    Raises:
        DataError: Naming the file, the row and the column of what is wrong.
        InputMissing: If a file is not there.
    """
    raw = _windows(source, read_steps(source, source.path, how), source.path, None)
    if source.test is None:
        return raw
    remaining = source.test.remaining
    steps = read_steps(source, source.test.path, how)
    lives = None if remaining is None else _lives(remaining, steps.units)
    test = _windows(source, steps, source.test.path, lives)
    if source.test.windows == "last":
        assert test.series is not None
        test = _some(test, last_of_units(test.series))
    return _joined(raw, test)


def _windows(
    source: SeriesSource, steps: Steps, path: Path, lives: NDArray[np.float64] | None
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
        unit, at = windows.units[windows.unit_N[first]], windows.time_L[windows.ends()[first]]
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
        times=steps.time_L[windows.ends()],
        dated=steps.dated,
        names=_names(windows, dated=steps.dated),
        skipped=steps.skipped,
    )


def _names(windows: Windows, *, dated: bool) -> dict[str, Names]:
    """Return the unit of each window, and the time of its last step."""
    time_N = windows.time_L[windows.ends()]

    def unit(row: int) -> str:
        return windows.units[int(windows.unit_N[row])]

    def time(row: int) -> str:
        if dated:
            return datetime.fromtimestamp(time_N[row], UTC).replace(tzinfo=None).isoformat(" ")
        return as_text(float(time_N[row]))

    return {"unit": Names(len(windows), unit), "time": Names(len(windows), time)}


def _target(
    source: SeriesSource, steps: Steps, windows: Windows, lives: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64] | Texts | None, tuple[str, ...]]:
    import numpy as np

    last_N = windows.ends()
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

    raw = read_table(PlainFile(path), TableColumns(), Reading())
    (cells,) = raw.columns.values() if len(raw.columns) == 1 else (None,)
    if cells is None or isinstance(cells, Texts) or np.isnan(cells).any():
        raise DataError(f"{path}: must have one number a line")
    if len(cells) != len(units):
        raise DataError(f"{path}: has {len(cells)} rows, and there are {len(units)} units")
    return cells


def _some(raw: Raw, rows: NDArray[np.int64]) -> Raw:
    assert raw.series is not None
    target = raw.target
    if isinstance(target, Texts):
        target = Texts(target.codes_N[rows], target.words)
    elif target is not None:
        target = target[rows]
    assert raw.groups is not None
    assert raw.times is not None
    windows = raw.series.rows(rows)
    return replace(
        raw,
        series=windows,
        names=_names(windows, dated=raw.dated),
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
        target = one_target([train.target, test.target])
    sha = hashlib.sha256(f"{train.fingerprint}{test.fingerprint}".encode())
    return replace(
        train,
        target=target,
        series=windows,
        names=_names(windows, dated=train.dated),
        groups=windows.unit_N,
        group_names=windows.units,
        times=windows.time_L[windows.ends()],
        part=Texts(part_N, ("train", "test")),
        fingerprint=sha.hexdigest(),
        origin=f"{train.origin} and {test.origin}",
    )
