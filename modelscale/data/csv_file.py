"""CSV files, read strictly: what other readers guess at is an error with its row and column."""

from __future__ import annotations

import codecs
import csv
import hashlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from modelscale.data.reading import MAX_CELL_CHARS, open_regular, shown
from modelscale.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from modelscale.data.tables import Chunk

MAX_LINE_BYTES = 64 << 20
CHUNK_CHARS = 4 << 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class CsvFile:
    """A CSV file with a header. Row numbers are those of a spreadsheet: the header is row 1."""

    first_row = 2

    def __init__(self, path: Path, delimiter: str = ",") -> None:
        self.path = path
        self.delimiter = delimiter
        self._digest = ""

    def names(self) -> tuple[str, ...]:
        with open_regular(self.path) as stream:
            return self._header(self._rows(TextLines(self.path, stream)))

    def chunks(self, rows: int) -> Iterator[Chunk]:
        with open_regular(self.path) as stream:
            lines = TextLines(self.path, stream)
            records = self._rows(lines)
            names = self._header(records)
            held: list[list[str]] = []
            chars = 0
            for record in self._checked(records, names):
                held.append(record)
                chars += sum(map(len, record))
                if len(held) >= rows or chars > CHUNK_CHARS:
                    yield dict(zip(names, zip(*held, strict=True), strict=True))
                    held, chars = [], 0
            if held:
                yield dict(zip(names, zip(*held, strict=True), strict=True))
            self._digest = lines.sha.hexdigest()

    def digest(self) -> str:
        return self._digest

    def _rows(self, lines: TextLines) -> Iterator[list[str]]:
        """Yield the records; `lines.row` is the number of the one that is read."""
        csv.field_size_limit(MAX_CELL_CHARS)
        records = csv.reader(lines, delimiter=self.delimiter, strict=True)
        while True:
            lines.row += 1
            try:
                record = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"{self.path}: row {lines.row}: {_plain(error)}") from None
            # Blanks around a cell are for the eye.
            yield [cell.strip() for cell in record]

    def _header(self, records: Iterator[list[str]]) -> tuple[str, ...]:
        names = next(records, None)
        if names is None:
            raise DataError(f"{self.path}: is empty")
        for place, name in enumerate(names):
            if not name:
                raise DataError(f"{self.path}: row 1: column {place + 1} has no name")
            if name in names[:place]:
                raise DataError(f"{self.path}: row 1: two columns are named '{name}'")
        if not names:
            raise DataError(f"{self.path}: row 1: is empty; column names belong there")
        return tuple(names)

    def _checked(
        self, records: Iterator[list[str]], names: tuple[str, ...]
    ) -> Iterator[list[str]]:
        """Yield the records that have one cell for each column; blank lines only at the end."""
        blank = None
        for row, record in enumerate(records, 2):
            if not record:
                blank = blank or row
                continue
            if blank is not None:
                raise DataError(f"{self.path}: row {blank}: is empty")
            if len(record) != len(names):
                hint = _delimiter_hint(record, names, self.delimiter)
                raise DataError(
                    f"{self.path}: row {row}: has {len(record)} cells, the header has "
                    f"{len(names)}{hint}"
                )
            yield record


class TextLines:
    """The lines of a file as text, each checked; `row` is for messages."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self.path = path
        self.row = 0
        self.sha = hashlib.sha256()
        self._stream = stream
        self._first = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_LINE_BYTES + 1)
        if not line:
            raise StopIteration
        self.sha.update(line)
        if len(line) > MAX_LINE_BYTES:
            raise DataError(f"{self.path}: row {self.row}: longer than {MAX_LINE_BYTES} bytes")
        if self._first:
            self._first = False
            if line.startswith(_UTF16):
                raise DataError(f"{self.path}: is UTF-16; save it as UTF-8")
            line = line.removeprefix(codecs.BOM_UTF8)
        if b"\0" in line:
            raise DataError(f"{self.path}: row {self.row}: has a NUL byte; is it a text file?")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path}: row {self.row}: byte 0x{line[error.start]:02X} is not UTF-8; "
                "save the file as UTF-8"
            ) from None


def counted(lines: TextLines) -> Iterator[str]:
    """Yield lines, with `lines.row` the number of the one that is read, from 1."""
    while True:
        lines.row += 1
        try:
            line = next(lines)
        except StopIteration:
            return
        yield line


def _plain(error: csv.Error) -> str:
    """Return the csv module's messages in the words of users."""
    text = str(error)
    if "field larger" in text:
        return f"a cell is longer than {MAX_CELL_CHARS:,} characters"
    if "unexpected end of data" in text:
        return "a quote is opened and never closed"
    if "expected after" in text:
        return "text follows a closing quote; a quote within a cell is written twice"
    if "new-line character" in text:
        return "a line ends with a lone carriage return; save the file with usual line ends"
    return text


def _delimiter_hint(record: list[str], names: tuple[str, ...], delimiter: str) -> str:
    for other in (";", "\t", "|", ","):
        if other != delimiter and len(names) == 1 and other in names[0]:
            return f"; is the delimiter {shown(other)}?"
    return f"; quote cells that contain {shown(delimiter)}" if len(record) > len(names) else ""
