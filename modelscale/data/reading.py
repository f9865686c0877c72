"""How a source is to be read, and opening files that may be missing or strange."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from modelscale.errors import DataError, InputMissing

MAX_CELL_CHARS = 1 << 20
DEFAULT_MISSING = ("", "NA", "NaN", "nan", "null", "?")

DELIMITERS = (";", "\t", "|", "::", ",")


@dataclass(frozen=True)
class Reading:
    """How a source is to be read.

    Attributes:
        roles: Declared roles of table columns by name: "numeric", "category", "text" or
            "ignore". Categories and texts are read as what stands there, texts as `Documents`;
            ignored columns not at all.
        only: Whether columns without a declared role are ignored too.
        spill: Folder for arrays that are to be memory-mapped; None keeps all in memory.
        chunk_rows: Rows that are held as text at a time.
    """

    roles: Mapping[str, str] = field(default_factory=dict)
    only: bool = False
    spill: Path | None = None
    chunk_rows: int = 8192


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading.

    Raises:
        InputMissing: If it is not there, no regular file, or cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise InputMissing(f"{path}: is {kind}")
        return path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputMissing(f"{path}: {reason}") from None


def file_bytes(path: Path) -> int:
    """Return the size of a file; 0 if it is not there, which reading it will tell."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's content, in constant memory."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def same_content(path: Path, before: str, after: str) -> None:
    """Refuse a file that changed while it was read.

    Raises:
        DataError: If the two digests differ.
    """
    if before != after:
        raise DataError(f"{path}: changed while it was read")


def shown(text: object) -> str:
    """Return a cell for a message: quoted, one line, not too long."""
    quoted = repr(text)
    return quoted if len(quoted) <= 42 else quoted[:38] + "…" + quoted[0]


def delimiter_hint(cells: Sequence[str]) -> str:
    """Return what to say where a row is one cell with another delimiter in it; or nothing."""
    found = next((mark for mark in DELIMITERS if len(cells) == 1 and mark in cells[0]), None)
    return f"; is it delimiter: {shown(found)}?" if found else ""
