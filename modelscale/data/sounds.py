"""Recordings with what is known of each: by their folder, their name, or a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.data.file_tables import TableRoles, read_file_table
from modelscale.data.folders import class_files
from modelscale.data.named_files import NamePattern, columns_of, content_of, files_of
from modelscale.data.raw import Raw, Texts
from modelscale.data.reading import Reading
from modelscale.data.recordings import SoundFile, SoundOptions, read_recordings
from modelscale.errors import DataError, InputMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

Values = Mapping[str, tuple[str | int, ...]]


@dataclass(frozen=True)
class NameRoles:
    """What the fields of files' names are for; see the source `audio_files`."""

    pattern: str
    target: str | None
    group: str | None
    test: Values
    validation: Values


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
    return Raw(
        target=Texts(np.array([label for label, _ in files], dtype=np.int32), labels),
        target_names=("class",),
        fingerprint=found.digest,
        origin=str(path),
        array=found.array_NS,
        rate=found.rate,
        names={"file": [str(file) for _, file in files]},
    )


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
    return Raw(
        target=target,
        target_names=() if roles.target is None else (roles.target,),
        fingerprint=_digest(found.digest, repr(roles)),
        origin=where,
        array=found.array_NS,
        rate=found.rate,
        groups=None if roles.group is None else _texts(columns[roles.group]).codes_N,
        part=part,
        names={"file": found.names},
    )


def read_table_of(path: Path, roles: TableRoles, options: SoundOptions, how: Reading) -> Raw:
    """Return the recordings that a table names, row by row.

    Raises:
        DataError: Naming the row without a file, or the file that is no intact recording.
        InputMissing: If the table or a recording is not there.
    """
    table, files = read_file_table(path, roles)

    def read() -> Iterator[SoundFile]:
        for row, file in enumerate(files, table.first_row):
            place = f"{path}: row {row}: {file}"
            try:
                yield SoundFile(place, file, content_of(path.parent / file))
            except InputMissing as missing:
                raise InputMissing(f"{path}: row {row}: {missing}") from None

    found = read_recordings(read, options, how.spill)
    return replace(
        table,
        columns={},
        array=found.array_NS,
        rate=found.rate,
        fingerprint=_digest(table.fingerprint, found.digest),
        names={"file": files},
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def _texts(values: Sequence[str]) -> Texts:
    import numpy as np

    words, codes_N = np.unique(np.array(values, dtype=object).astype(str), return_inverse=True)
    return Texts(codes_N.astype(np.int32), tuple(words.tolist()))


def _matching(
    columns: Mapping[str, tuple[str, ...]], wanted: Values, where: str
) -> NDArray[np.bool_]:
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
