"""Tables of files, read strictly in two passes of constant memory.

The first pass finds out what each column is and refuses what is wrong; the second converts.
Both see the file in chunks of rows, so a table may be larger than memory.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelscale.data.cells import NUMBER, POINT, TEXT, TOO_LARGE, Cell, Marks, as_words, parse
from modelscale.data.column_store import ColumnStore
from modelscale.data.documents import DocumentWriter
from modelscale.data.raw import Raw, Texts
from modelscale.data.reading import Reading, delimiter_hint, same_content, shown
from modelscale.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_WORDS = 10_000
"""Different texts of a column beyond which it is no category, unless the spec says so."""

MAX_DECLARED_WORDS = 1_000_000
"""The same for a column that the spec calls a category, such as users or products."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Chunk = Mapping[str, "Sequence[Cell] | NDArray[np.float64]"]


class TableFile(Protocol):
    """A file of rows and named columns, as its format's reader shows it."""

    path: Path
    first_row: int

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns, all different."""

    @abstractmethod
    def chunks(self, rows: int) -> Iterator[Chunk]:
        """Yield the cells of `rows` rows at a time, by column."""

    @abstractmethod
    def digest(self) -> str:
        """Return the sha256 of what the last complete pass read."""


@dataclass(frozen=True)
class TableColumns:
    """Which columns of a table are no inputs, and how cells are written.

    Attributes:
        target: Columns to learn.
        group: Column whose equal values stay together.
        time: Column that orders the rows.
        part: Column that says the part.
        missing: Texts of a missing cell.
        time_format: How dates are written, for `strptime`; None for ISO 8601.
        marks: How numbers are written.
    """

    target: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    part: str | None = None
    missing: frozenset[str] = frozenset()
    time_format: str | None = None
    marks: Marks = POINT

    def special(self) -> set[str]:
        """Return the names of these columns."""
        named = (*self.target, self.group, self.time, self.part)
        return {name for name in named if name is not None}


@dataclass
class _Scan:
    """What the first pass knows of a column."""

    numbers: int = 0
    texts: int = 0
    too_large: tuple[int, Cell] | None = None
    text: tuple[int, Cell] | None = None


@dataclass
class _Words:
    """The growing vocabulary of a text column; no longer grown once it is too large."""

    codes: dict[str, int] = field(default_factory=dict)
    limit: int | None = MAX_WORDS

    def encode(self, words: Sequence[str | None]) -> NDArray[np.int32]:
        import numpy as np

        codes = self.codes
        if not self.overflown:
            for word in words:
                if word is not None and word not in codes:
                    codes[word] = len(codes)
        return np.array([-1 if w is None else codes.get(w, -1) for w in words], dtype=np.int32)

    @property
    def overflown(self) -> bool:
        return self.limit is not None and len(self.codes) > self.limit

    def close(self) -> tuple[str, ...]:
        return tuple(self.codes)


def read_table(file: TableFile, columns: TableColumns, how: Reading) -> Raw:
    """Return the rows of a table file.

    Raises:
        DataError: Naming the file, the row and the column of what is wrong.
        InputMissing: If the file is not there.
    """
    kept, skipped = _columns_to_read(file, columns, how)
    scans, rows = _scan(file, kept, columns, how.chunk_rows)
    digest = file.digest()
    if rows == 0:
        raise DataError(f"{file.path}: has no rows")
    numeric = [n for n in kept if _is_numeric(file, n, scans[n], columns, how.roles.get(n))]
    text = [name for name in kept if name not in numeric]
    store, words = _convert(file, numeric, text, columns, how, rows)
    same_content(file.path, digest, file.digest())
    found: dict[str, NDArray[np.float64] | Texts] = {}
    for name in kept:
        if name in numeric:
            found[name] = store.numbers(numeric.index(name))
        elif words[name].overflown:
            skipped[name] = f"it has more than {words[name].limit:,} different texts"
        else:
            found[name] = Texts(store.codes(text.index(name)), words[name].close())
    return _raw(file, columns, found, skipped, digest)


def _columns_to_read(
    file: TableFile, columns: TableColumns, how: Reading
) -> tuple[list[str], dict[str, str]]:
    """Return the columns that matter, in file order, and why others do not."""
    names = file.names()
    for place, name in enumerate(names, 1):
        if _CONTROL.search(name):
            raise DataError(
                f"{file.path}: the name of column {place}, {shown(name)}, has a line break "
                "or another control character"
            )
    named = [*columns.target, columns.group, columns.time, columns.part]
    special = [name for name in named if name is not None]
    for name in special:
        if name not in names:
            hint = delimiter_hint(names) or _header_hint(names) or did_you_mean(name, names)
            raise DataError(f"{file.path}: no column '{name}'{hint}")
    if len(set(special)) < len(special):
        raise DataError(f"{file.path}: a column is named for two things: {', '.join(special)}")
    skipped = {
        name: "as the spec says" if name in how.roles else "the model does not use it"
        for name in names
        if name not in special
        and (how.roles.get(name) == "ignore" or (how.only and name not in how.roles))
    }
    return [name for name in names if name not in skipped], skipped


def _header_hint(names: Sequence[str]) -> str:
    """Return what to say where numbers stand in the place of column names."""
    numbers = all(POINT.plain(name) for name in names)
    return "; has the file a header? Say header: false if not" if numbers else ""


def _scan(
    file: TableFile, kept: list[str], columns: TableColumns, chunk_rows: int
) -> tuple[dict[str, _Scan], int]:
    import numpy as np

    scans = {name: _Scan() for name in kept}
    rows = 0
    for chunk in file.chunks(chunk_rows):
        for name, scan in scans.items():
            kind_N = parse(chunk[name], columns.missing, columns.marks).kind_N
            counts = np.bincount(kind_N, minlength=4)
            scan.numbers += int(counts[NUMBER] + counts[TOO_LARGE])
            scan.texts += int(counts[TEXT])
            for kind in (TEXT, TOO_LARGE):
                if counts[kind]:
                    place = int(np.argmax(kind_N == kind))
                    cell = chunk[name][place]
                    plain = float(cell) if isinstance(cell, np.floating) else cell
                    first = (file.first_row + rows + place, plain)
                    if kind == TEXT:
                        scan.text = scan.text or first
                    else:
                        scan.too_large = scan.too_large or first
        rows += len(next(iter(chunk.values()))) if chunk else 0
    return scans, rows


def _is_numeric(
    file: TableFile, name: str, scan: _Scan, columns: TableColumns, role: str | None
) -> bool:
    """Return whether a column is numeric: as declared, else if most of its cells are numbers.

    Raises:
        DataError: If it is, but for some cells.
    """
    if role in ("category", "text") or name in (columns.group, columns.part):
        return False
    if name == columns.time and (scan.texts or columns.time_format):
        return False  # dates, which `_times` reads
    if role != "numeric" and scan.texts > 0 and scan.texts >= scan.numbers:
        return False
    if scan.text and (not scan.too_large or scan.text[0] < scan.too_large[0]):
        row, cell = scan.text
        remedy = "" if name in columns.target else _as_category(name)
        fault = f"{shown(cell)} is not a finite number, as most of the column are{remedy}"
        raise DataError(f"{file.path}: row {row}, column '{name}': {fault}")
    if scan.too_large:
        row, cell = scan.too_large
        raise DataError(
            f"{file.path}: row {row}, column '{name}': {shown(cell)} is a number too large "
            f"to be kept exactly{_as_category(name)}"
        )
    return True


def _as_category(name: str) -> str:
    return f"; for text that only looks like numbers say data.columns: {{{name}: category}}"


def _convert(
    file: TableFile,
    numeric: list[str],
    text: list[str],
    columns: TableColumns,
    how: Reading,
    rows: int,
) -> tuple[ColumnStore, dict[str, _Words | DocumentWriter]]:
    # Groups and times are as many as they are; they are not categories of an input.
    unlimited = (columns.group, columns.time)
    words: dict[str, _Words | DocumentWriter] = {
        name: DocumentWriter(how.spill)
        if how.roles.get(name) == "text" and name not in columns.special() - {*columns.target}
        else _Words(limit=None if name in unlimited else _most_words(how.roles.get(name)))
        for name in text
    }
    store = ColumnStore(len(numeric), len(text), rows, how.spill)
    start = 0
    for chunk in file.chunks(how.chunk_rows):
        size = len(next(iter(chunk.values()))) if chunk else 0
        if start + size > rows:
            break  # it grew since the first pass; the digests will differ
        for place, name in enumerate(numeric):
            parsed = parse(chunk[name], columns.missing, columns.marks)
            store.put_numbers(place, start, parsed.value_N)
        for place, name in enumerate(text):
            code_N = words[name].encode(as_words(chunk[name], columns.missing))
            store.put_codes(place, start, code_N)
        start += size
    return store, words


def _most_words(role: str | None) -> int:
    return MAX_DECLARED_WORDS if role == "category" else MAX_WORDS


def _raw(
    file: TableFile,
    columns: TableColumns,
    found: dict[str, NDArray[np.float64] | Texts],
    skipped: dict[str, str],
    digest: str,
) -> Raw:
    import numpy as np

    special = columns.special()
    groups = None
    names: tuple[str, ...] = ()
    if columns.group is not None:
        cells = found[columns.group]
        assert isinstance(cells, Texts)
        groups, names = cells.codes_N, tuple(cells.words)
        _refuse_missing(file, columns.group, groups < 0)
    part = None
    if columns.part is not None:
        part = _filled_text(found, skipped, columns.part, file)
        _refuse_missing(file, columns.part, part.codes_N < 0)
    target: NDArray[np.float64] | Texts | None = None
    if len(columns.target) == 1:
        target = _target(found, skipped, columns.target[0], file)
    elif columns.target:
        several = [_target(found, skipped, name, file) for name in columns.target]
        for name, values in zip(columns.target, several, strict=True):
            if isinstance(values, Texts):
                raise DataError(f"{file.path}: column '{name}': several targets need numbers")
        target = np.stack([np.asarray(values) for values in several], axis=1)
    return Raw(
        target=target,
        target_names=columns.target,
        fingerprint=digest,
        origin=str(file.path),
        columns={name: cells for name, cells in found.items() if name not in special},
        groups=groups,
        group_names=names,
        times=None
        if columns.time is None
        else _times(file, columns.time, columns.time_format, found),
        dated=columns.time is not None and isinstance(found[columns.time], Texts),
        part=part,
        skipped=skipped,
        first_row=file.first_row,
    )


def _target(
    found: Mapping[str, NDArray[np.float64] | Texts],
    skipped: Mapping[str, str],
    name: str,
    file: TableFile,
) -> NDArray[np.float64] | Texts:
    if name in skipped:
        raise DataError(f"{file.path}: target '{name}': {skipped[name]}")
    return found[name]


def _filled_text(
    found: Mapping[str, NDArray[np.float64] | Texts],
    skipped: Mapping[str, str],
    name: str,
    file: TableFile,
) -> Texts:
    cells = _target(found, skipped, name, file)
    assert isinstance(cells, Texts)
    return cells


def _refuse_missing(file: TableFile, name: str, missing_N: NDArray[np.bool_]) -> None:
    if missing_N.any():
        row = file.first_row + int(missing_N.argmax())
        raise DataError(f"{file.path}: row {row}, column '{name}': is missing")


def _times(
    file: TableFile,
    name: str,
    form: str | None,
    found: Mapping[str, NDArray[np.float64] | Texts],
) -> NDArray[np.float64]:
    """Return times as numbers: as they are, or seconds since 1970 of dates (UTC)."""
    import numpy as np

    cells = found[name]
    if not isinstance(cells, Texts):
        _refuse_missing(file, name, np.isnan(cells))
        return cells
    _refuse_missing(file, name, cells.codes_N < 0)
    seconds = np.empty(len(cells.words))
    for code, word in enumerate(cells.words):
        try:
            moment = datetime.strptime(word, form) if form else datetime.fromisoformat(word)
        except ValueError:
            row = file.first_row + int(np.argmax(cells.codes_N == code))
            wanted = (
                f"is not written as time_format {shown(form)} says"
                if form
                else "is neither a number nor a date such as 2026-01-31 or "
                "2026-01-31T12:00:00; say how dates are written, as time_format: '%d.%m.%Y'"
            )
            raise DataError(
                f"{file.path}: row {row}, column '{name}': {shown(word)} {wanted}"
            ) from None
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds[code] = aware.timestamp()
    result: NDArray[np.float64] = seconds[cells.codes_N]
    return result
