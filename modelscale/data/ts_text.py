"""Series in the `.ts` text format: one case a line, its channels parted by colons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelscale.data.raw import Raw, Texts
from modelscale.data.reading import shown
from modelscale.data.windows import Windows
from modelscale.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

HEAD = {
    "problemname",
    "timestamps",
    "missing",
    "univariate",
    "dimension",
    "dimensions",
    "equallength",
    "serieslength",
    "classlabel",
    "targetlabel",
}
MISSING = ("?", "NaN", "nan")


@dataclass
class Cases:
    """Cases as they are read.

    Attributes:
        origin: The file, for messages.
        classes: Class names; empty without classes.
        values: Whether each case has a number to predict instead.
        series: Of each case (channels, steps) float64.
        labels: Of each case, as text.
        rows: Line of each case in the file, from 1.
    """

    origin: str
    classes: tuple[str, ...] = ()
    values: bool = False
    series: list[NDArray[np.float64]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


def parse(lines: Iterable[str], origin: str) -> Cases:
    """Return the cases of a file.

    Raises:
        DataError: Naming the line and the channel of what is wrong.
    """
    numbered = enumerate(lines, 1)
    cases = _head(numbered, origin)
    channels = 0
    for row, line in numbered:
        if not line.strip():
            continue
        *parts, label = line.strip().split(":")
        if not (cases.classes or cases.values):
            parts, label = [*parts, label], ""
        elif cases.classes and label.strip() not in cases.classes:
            raise DataError(
                f"{origin}: row {row}: {shown(label.strip())} is not a class of the head "
                f"({', '.join(cases.classes[:10])})"
            )
        channels = channels or len(parts)
        if len(parts) != channels or not parts:
            raise DataError(
                f"{origin}: row {row}: has {len(parts)} channels, the first case has {channels}"
            )
        cases.series.append(_case(parts, origin, row))
        cases.labels.append(label.strip())
        cases.rows.append(row)
    if not cases.series:
        raise DataError(f"{origin}: has no cases below @data")
    return cases


def _head(numbered: Iterator[tuple[int, str]], origin: str) -> Cases:
    """Read up to `@data`; return what the head says."""
    cases = Cases(origin)
    for row, line in numbered:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        word, *values = text.split()
        name = word.removeprefix("@").lower()
        if not word.startswith("@"):
            raise DataError(f"{origin}: row {row}: {shown(text)} stands before @data")
        if name == "data":
            return cases
        if name not in HEAD:
            raise DataError(f"{origin}: row {row}: {word} is not understood")
        on = values[:1] == ["true"] or values[:1] == ["True"]
        if name == "timestamps" and on:
            raise DataError(f"{origin}: row {row}: steps with time stamps are not read")
        if name == "classlabel" and on:
            cases.classes = tuple(values[1:])
            if len(cases.classes) < 2 or len(set(cases.classes)) < len(cases.classes):
                raise DataError(f"{origin}: row {row}: @classLabel needs two different classes")
        cases.values = cases.values or (name == "targetlabel" and on)
    raise DataError(f"{origin}: has no @data line; is it a .ts file?")


def _case(parts: list[str], origin: str, row: int) -> NDArray[np.float64]:
    """Return (channels, steps) of one line."""
    import numpy as np

    found: list[NDArray[np.float64]] = []
    for place, part in enumerate(parts, 1):
        cells = part.split(",")
        try:
            values = np.array([np.nan if c in MISSING else float(c) for c in cells])
        except ValueError:
            bad = next(c for c in cells if c not in MISSING and not _is_number(c))
            raise DataError(
                f"{origin}: row {row}, channel {place}: {shown(bad)} is not a number"
            ) from None
        with np.errstate(over="ignore"):
            if np.isinf(values.astype(np.float32)).any():
                raise DataError(
                    f"{origin}: row {row}, channel {place}: has a number that is not finite in "
                    "single precision"
                )
        if found and len(values) != len(found[0]):
            raise DataError(
                f"{origin}: row {row}, channel {place}: has {len(values)} steps, channel 1 has "
                f"{len(found[0])}"
            )
        found.append(values)
    return np.stack(found)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def raw_of(parts: list[Cases], length: int | None, origin: str, fingerprint: str) -> Raw:
    """Return the cases of one file, or of a training and a test file, as raw data.

    Args:
        parts: The files' cases.
        length: Positions of an example; None for the steps of the longest case.
        origin: For people.
        fingerprint: Of what was read.

    Raises:
        DataError: If the files differ in channels or classes, or a case is too long.
    """
    import numpy as np

    first = parts[0]
    width = len(first.series[0])
    for part in parts[1:]:
        if len(part.series[0]) != width or part.classes != first.classes:
            raise DataError(f"{part.origin}: has other channels or classes than {first.origin}")
    series = [case for part in parts for case in part.series]
    length_N = np.array([case.shape[1] for case in series], dtype=np.int64)
    positions = length or int(length_N.max())
    if length_N.max() > positions:
        long = int(length_N.argmax())
        owner = parts[0] if long < len(parts[0].series) else parts[-1]
        row = [row for part in parts for row in part.rows][long]
        raise DataError(
            f"{owner.origin}: row {row}: has {length_N[long]} steps, more than "
            f"data.source.length, {positions}"
        )
    names = [f"channel_{i + 1}" for i in range(width)] if width > 1 else ["value"]
    stream_DL = np.concatenate(series, axis=1)
    count = len(series)
    windows = Windows(
        columns=dict(zip(names, stream_DL, strict=True)),
        start_N=np.cumsum(length_N) - length_N,
        length_N=length_N,
        positions=positions,
        time_L=np.concatenate([np.arange(n, dtype=np.float64) for n in length_N]),
        unit_N=np.arange(count, dtype=np.int32),
        units=tuple(str(n + 1) for n in range(count)),
    )
    part_N = np.repeat(np.arange(len(parts), dtype=np.int32), [len(p.series) for p in parts])
    return Raw(
        target=_target(parts),
        target_names=("class",) if first.classes else ("target",) if first.values else (),
        fingerprint=fingerprint,
        origin=origin,
        series=windows,
        groups=windows.unit_N,
        group_names=windows.units,
        part=Texts(part_N, ("train", "test")) if len(parts) > 1 else None,
    )


def _target(parts: list[Cases]) -> NDArray[np.float64] | Texts | None:
    import numpy as np

    first = parts[0]
    labels = [(part, row, label) for part in parts for row, label in _rows(part)]
    if first.classes:
        number = {name: code for code, name in enumerate(first.classes)}
        codes = [number[label] for _, _, label in labels]
        return Texts(np.array(codes, dtype=np.int32), first.classes)
    if not first.values:
        return None
    for part, row, label in labels:
        if not _is_number(label) or not np.isfinite(float(label)):
            raise DataError(f"{part.origin}: row {row}: target {shown(label)} is no number")
    return np.array([float(label) for _, _, label in labels])


def _rows(part: Cases) -> list[tuple[int, str]]:
    return list(zip(part.rows, part.labels, strict=True))
