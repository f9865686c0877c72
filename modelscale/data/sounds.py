"""Recordings with what is known of each: by their folder, their name, or a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.data.folders import class_files
from modelscale.data.named_files import NamePattern, columns_of, content_of, files_of
from modelscale.data.raw import Raw, Texts
from modelscale.data.reading import Reading
from modelscale.data.recordings import Recordings, SoundFile, SoundOptions, read_recordings
from modelscale.errors import DataError, InputMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

Values = Mapping[str, tuple[str | int, ...]]


@dataclass(frozen=True)
class NameRoles:
    """What the fields of files' names are for; see the source `audio_files`."""

    pattern: str
    target: str | None
    group: str | None
    test: Values
    validation: Values


@dataclass(frozen=True)
class TableRoles:
    """What the columns of a table of recordings are for; see the source `audio_table`."""

    file: str
    target: str | None
    group: str | None
    part: str | None
    missing: frozenset[str]


def read_folder(path: Path, options: SoundOptions, how: Reading) -> Raw:
    """Return all recordings of a folder of class folders, by class and name.

    Raises:
        DataError: Naming the file that is no intact recording, or the class that has none.
        InputMissing: If the folder is not there.
    """
    import numpy as np

    labels, files = class_files(path)

    def read() -> Iterator[SoundFile]:
        for label, file in files:
            yield SoundFile(str(file), f"{labels[label]}/{file.name}", content_of(file))

    found = read_recordings(read, options, how.spill)
    codes_N = np.array([label for label, _ in files], dtype=np.int32)
    return _raw(found, str(path), Texts(codes_N, labels), ("class",))


def read_named(
    paths: tuple[Path, ...], roles: NameRoles, options: SoundOptions, how: Reading
) -> Raw:
    """Return recordings whose names say what they are.

    Raises:
        DataError: Naming the file that is no intact recording or is named otherwise.
        InputMissing: If a path is not there.
    """
    import numpy as np

    where = ", ".join(map(str, paths))
    found = read_recordings(lambda: files_of(paths), options, how.spill)
    columns = columns_of(found.names, NamePattern(roles.pattern), where)
    target = None if roles.target is None else _texts(columns[roles.target])
    part = None
    if roles.test or roles.validation:
        test_N = _matching(columns, roles.test, where)
        other_N = _matching(columns, roles.validation, where)
        if (both := np.flatnonzero(test_N & other_N)).size:
            raise DataError(f"{where}: {found.names[both[0]]}: is a test and a validation one")
        codes_N = np.where(test_N, 2, np.where(other_N, 1, 0)).astype(np.int32)
        part = Texts(codes_N, ("train", "validation", "test"))
    groups = None if roles.group is None else _texts(columns[roles.group]).codes_N
    names = () if roles.target is None else (roles.target,)
    raw = _raw(found, where, target, names)
    return _with(raw, groups, part)


def read_table_of(path: Path, roles: TableRoles, options: SoundOptions, how: Reading) -> Raw:
    """Return the recordings that a table names, row by row.

    Raises:
        DataError: Naming the row without a file, or the file that is no intact recording.
        InputMissing: If the table or a recording is not there.
    """
    from modelscale.data.opening import source_of
    from modelscale.data.sources._table import TableSource
    from modelscale.data.tables import TableColumns, read_table

    source = source_of(path)
    if not isinstance(source, TableSource):
        raise DataError(f"{path}: is no table (.csv, .tsv, .jsonl, .parquet)")
    names = () if roles.target is None else (roles.target,)
    columns = TableColumns(names, roles.group, None, roles.part, roles.missing)
    declared = dict.fromkeys((roles.file, *names), "category")
    table = read_table(source.file(), columns, Reading(roles=declared, only=True))
    cells = table.columns.get(roles.file)
    if not isinstance(cells, Texts):
        raise DataError(f"{path}: no column '{roles.file}' of files; name it: data.source.file")
    files = [cells.words[code] if code >= 0 else "" for code in cells.codes_N.tolist()]
    for row, file in enumerate(files, table.first_row):
        if not file:
            raise DataError(f"{path}: row {row}, column '{roles.file}': is missing")

    def read() -> Iterator[SoundFile]:
        for row, file in enumerate(files, table.first_row):
            place = f"{path}: row {row}: {file}"
            try:
                yield SoundFile(place, file, content_of(path.parent / file))
            except InputMissing as missing:
                raise InputMissing(f"{path}: row {row}: {missing}") from None

    found = read_recordings(read, options, how.spill)
    digest = f"{table.fingerprint}{found.digest}"
    raw = _raw(found, str(path), table.target, names, table.first_row, digest)
    return _with(raw, table.groups, table.part)


def _raw(
    found: Recordings,
    origin: str,
    target: object,
    names: tuple[str, ...],
    first_row: int = 1,
    digest: str = "",
) -> Raw:
    import hashlib

    content = digest or f"{found.digest}{target!r}"
    return Raw(
        target=target,  # type: ignore[arg-type]  # as the callers have it
        target_names=names,
        fingerprint=hashlib.sha256(content.encode()).hexdigest(),
        origin=origin,
        array=found.array_NS,
        rate=found.rate,
        first_row=first_row,
    )


def _with(raw: Raw, groups: object, part: Texts | None) -> Raw:
    from dataclasses import replace

    return replace(raw, groups=groups, part=part)


def _texts(values: Sequence[str]) -> Texts:
    import numpy as np

    words, codes_N = np.unique(np.array(values, dtype=object).astype(str), return_inverse=True)
    return Texts(codes_N.astype(np.int32), tuple(words.tolist()))


def _matching(columns: Mapping[str, tuple[str, ...]], wanted: Values, where: str) -> NDArray:
    """Return which rows have the wanted value in every field that is named."""
    import numpy as np

    count = len(next(iter(columns.values()), ()))
    found_N = np.full(count, bool(wanted))
    for field, values in wanted.items():
        texts = {str(value) for value in values}
        for text in sorted(texts - set(columns[field])):
            raise DataError(f"{where}: no recording whose {{{field}}} is {text!r}")
        found_N &= np.array([value in texts for value in columns[field]], dtype=bool)
    return found_N
