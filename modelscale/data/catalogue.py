"""Readers of the catalogue's files. The files are checked by sha256 before they come here."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from modelscale.data.archives import DATA_SETS
from modelscale.data.csv_file import CsvFile
from modelscale.data.documents import Documents
from modelscale.data.fetching import read_members
from modelscale.data.packing import unpacked
from modelscale.data.ratings import ratings
from modelscale.data.raw import Raw, Texts
from modelscale.data.reading import DEFAULT_MISSING, Reading
from modelscale.data.tables import TableColumns, read_table
from modelscale.data.ts_text import parse, raw_of
from modelscale.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.archive_entries import DataSet, Member


class Found(NamedTuple):
    """What a parser reads: the unpacked files, and what to say about them."""

    entry: DataSet
    contents: list[bytes]
    fingerprint: str
    origin: str


def read(name: str, how: Reading | None = None) -> Raw:
    """Return a data set of the catalogue.

    Args:
        name: Its name there.
        how: Declared roles of columns, for data sets that are tables of a file.

    Raises:
        InputMissing: If it is not on this machine; names the command that fetches it.
        DataError: If its file is damaged.
    """
    entry = DATA_SETS[name]
    contents = read_members(name)
    fingerprint = hashlib.sha256(b"".join(contents)).hexdigest()
    origin = f"{name} ({entry.archive.package} {entry.archive.version})"
    plain = [_unpacked(c, m) for c, m in zip(contents, entry.members, strict=True)]
    found = Found(entry, plain, fingerprint, origin)
    if entry.parser == "table":
        return _table(found, how or Reading())
    return _PARSERS[entry.parser](found)


def _unpacked(content: bytes, member: Member) -> bytes:
    if not member.file_name.endswith(".gz"):
        return content
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        plain = stream.read(member.max_bytes + 1)
    if len(plain) > member.max_bytes:
        raise DataError(f"{member.file_name}: larger than {member.max_bytes:,} bytes")
    return plain


def _matrix(content: bytes, delimiter: str | None, skip: int = 0) -> NDArray[np.float64]:
    import numpy as np

    return np.loadtxt(io.BytesIO(content), delimiter=delimiter, skiprows=skip, ndmin=2)


def _digits(found: Found) -> Raw:
    """Read rows of 64 pixels from 0 to 16, then the digit."""
    import numpy as np

    table = _matrix(found.contents[0], ",")
    pixels = (table[:, :64] / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    return Raw(table[:, 64], ("digit",), found.fingerprint, found.origin, array=pixels)


def _mnist(found: Found) -> Raw:
    """Read rows of 784 pixels from 0 to 255, then the digit."""
    import numpy as np

    table = _matrix(found.contents[0], ",")
    pixels = table[:, :784].astype(np.uint8).reshape(-1, 1, 28, 28)
    return Raw(table[:, 784], ("digit",), found.fingerprint, found.origin, array=pixels)


def _bunch(found: Found) -> Raw:
    """Read a first line of rows, columns and class names; the last column is the class."""
    import numpy as np

    first = found.contents[0].split(b"\n", 1)[0].decode().strip().split(",")
    table = _matrix(found.contents[0], ",", skip=1)
    return Raw(
        Texts(table[:, -1].astype(np.int32), tuple(first[2:])),
        (found.entry.target,),
        found.fingerprint,
        found.origin,
        columns={name: table[:, i].copy() for i, name in enumerate(found.entry.columns)},
    )


def _diabetes(found: Found) -> Raw:
    table, target = _matrix(found.contents[0], None), _matrix(found.contents[1], None)
    return Raw(
        target[:, 0],
        (found.entry.target,),
        found.fingerprint,
        found.origin,
        columns={name: table[:, i].copy() for i, name in enumerate(found.entry.columns)},
    )


def _table(found: Found, how: Reading) -> Raw:
    """Read a CSV file with a header through the strict reader."""
    entry, content = found.entry, found.contents[0]
    if entry.thousands:
        content = re.sub(rb'"([0-9]+),([0-9]{3})"', rb"\1\2", content)
    with tempfile.TemporaryDirectory(prefix="modelscale-catalogue-") as folder:
        path = Path(folder) / entry.members[0].file_name
        path.write_bytes(content)
        columns = TableColumns(target=(entry.target,), missing=frozenset(DEFAULT_MISSING))
        roles = dict.fromkeys(entry.ignore, "ignore") | dict(how.roles)
        raw = read_table(CsvFile(path), columns, replace(how, roles=roles))
    # What the catalogue itself leaves out is no news to anyone.
    skipped = {n: why for n, why in raw.skipped.items() if n not in entry.ignore}
    return replace(raw, fingerprint=found.fingerprint, origin=found.origin, skipped=skipped)


def _ratings(found: Found) -> Raw:
    """Read ratings of items by users, and what is known of either."""
    read = ratings(found.contents)
    return Raw(
        read.rating_N,
        (found.entry.target,),
        found.fingerprint,
        found.origin,
        columns=read.columns,
        times=read.time_N,
        first_row=2,
    )


def _text_folders(found: Found) -> Raw:
    """Read a folder of class folders of texts."""
    files = {name: content for name, content in unpacked(found.contents[0]) if "/" in name}
    names = sorted(files)
    classes = [name.partition("/")[0] for name in names]
    return _texts(found, [_text(files[name]) for name in names], classes)


def _tabbed(found: Found) -> Raw:
    """Read a training and a test file of class, tab and text, below three lines of a head."""
    texts: list[str] = []
    classes: list[str] = []
    part: list[int] = []
    for code, content in enumerate(found.contents):
        for line in filter(None, content.decode().split("\n")[3:]):
            label, _, text = line.partition("\t")
            classes.append(label)
            texts.append(text)
            part.append(code)
    return replace(_texts(found, texts, classes), part=Texts(_codes(part), ("train", "test")))


def _texts(found: Found, texts: list[str], classes: list[str]) -> Raw:
    labels = tuple(sorted(set(classes)))
    numbers = {label: code for code, label in enumerate(labels)}
    return Raw(
        Texts(_codes(numbers[label] for label in classes), labels),
        (found.entry.target,),
        found.fingerprint,
        found.origin,
        columns={"text": Texts(_codes(range(len(texts))), Documents.of(texts))},
    )


def _series(found: Found) -> Raw:
    """Read a training and a test file of series."""
    parts = [
        parse(
            content.decode("utf-8", "replace").splitlines(),
            f"{found.origin}, {member.file_name}",
        )
        for content, member in zip(found.contents, found.entry.members, strict=True)
    ]
    return raw_of(parts, None, found.origin, found.fingerprint)


def _text(content: bytes) -> str:
    """Return a text; one that is not UTF-8 is in the code of western Europe."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _codes(codes: Iterable[int]) -> NDArray[np.int32]:
    import numpy as np

    return np.fromiter(codes, dtype=np.int32)


_PARSERS: dict[str, Callable[[Found], Raw]] = {
    "digits": _digits,
    "mnist": _mnist,
    "bunch": _bunch,
    "diabetes": _diabetes,
    "text_folders": _text_folders,
    "tabbed": _tabbed,
    "ratings": _ratings,
    "ts": _series,
}
