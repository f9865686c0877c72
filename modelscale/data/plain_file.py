"""Plain text files of numbers parted by blanks, without a header."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelscale.data.csv_file import TextLines, counted
from modelscale.data.reading import open_regular
from modelscale.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from modelscale.data.tables import Chunk


class PlainFile:
    """A text file of rows whose cells are parted by blanks; its first row is row 1."""

    first_row = 1

    def __init__(self, path: Path, names: tuple[str, ...] = ()) -> None:
        """Read `path`; by default its columns are called column_1, column_2 and so on."""
        self.path = path
        self._names = names
        self._digest = ""

    def names(self) -> tuple[str, ...]:
        with open_regular(self.path) as stream:
            first = next(counted(TextLines(self.path, stream)), "").split()
        if not first:
            raise DataError(f"{self.path}: row 1: is empty")
        if not self._names:
            return tuple(f"column_{place}" for place in range(1, len(first) + 1))
        if len(first) != len(self._names):
            raise DataError(
                f"{self.path}: row 1: has {len(first)} cells, and data.source.names has "
                f"{len(self._names)}"
            )
        return self._names

    def chunks(self, rows: int) -> Iterator[Chunk]:
        names = self.names()
        with open_regular(self.path) as stream:
            lines = TextLines(self.path, stream)
            held: list[list[str]] = []
            for record in self._records(lines, len(names)):
                held.append(record)
                if len(held) >= rows:
                    yield dict(zip(names, zip(*held, strict=True), strict=True))
                    held = []
            if held:
                yield dict(zip(names, zip(*held, strict=True), strict=True))
            self._digest = lines.sha.hexdigest()

    def digest(self) -> str:
        return self._digest

    def _records(self, lines: TextLines, width: int) -> Iterator[list[str]]:
        """Yield the rows, which all have as many cells; blank lines only at the end."""
        blank = None
        for row, line in enumerate(counted(lines), 1):
            record = line.split()
            if not record:
                blank = blank or row
                continue
            if blank is not None:
                raise DataError(f"{self.path}: row {blank}: is empty")
            if len(record) != width:
                raise DataError(
                    f"{self.path}: row {row}: has {len(record)} cells, row 1 has {width}"
                )
            yield record
