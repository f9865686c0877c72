"""What the catalogue says of a data set: where it is, how it is read, whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Parser = Literal[
    "digits", "mnist", "bunch", "diabetes", "table", "text_folders", "tabbed", "ratings", "ts"
]


@dataclass(frozen=True)
class Member:
    """A file inside an archive.

    Attributes:
        path: Its name there; one that ends in `/` is all files below a folder (`packing.py`).
        sha256: Of its content.
        max_bytes: Largest size that is read, also after decompression.
    """

    path: str
    sha256: str
    max_bytes: int

    @property
    def file_name(self) -> str:
        """Its name in the cache."""
        return self.path.rstrip("/").rpartition("/")[2]


@dataclass(frozen=True)
class Archive:
    """A published package.

    Attributes:
        package: Its name on the index.
        version: The release.
        file_name: The one file of the release that is downloaded.
        sha256: Of that file.
        folder: What the package is called where it is installed, to read it there; None if
            the data is taken from the archive alone.
    """

    package: str
    version: str
    file_name: str
    sha256: str
    folder: str | None = None


@dataclass(frozen=True)
class DataSet:
    """A data set of the catalogue.

    Attributes:
        about: What it is, in a line.
        rows: Examples.
        archive: Where it comes from.
        members: The files of the archive that hold it.
        parser: How they are read.
        target: Column of the target, for the parser `table`.
        ignore: Columns of the file that are no inputs: row numbers and the like.
        columns: Names of the input columns, where the file has none.
        thousands: Whether the file writes numbers as "265,000".
        licence: Of the data.
        citation: Whom to cite.
        baseline: A score to beat, and where it is from.
    """

    about: str
    rows: int
    archive: Archive
    members: tuple[Member, ...]
    parser: Parser
    licence: str
    citation: str
    baseline: str
    target: str = ""
    ignore: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    thousands: bool = False
