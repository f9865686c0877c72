"""CSV files, read strictly: what other readers guess at is an error with its row and column."""

from __future__ import annotations

import codecs
import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

from modelscale.data.cells import POINT
from modelscale.data.reading import MAX_CELL_CHARS, delimiter_hint, open_regular, shown
from modelscale.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from modelscale.data.tables import Chunk

MAX_LINE_BYTES = 64 << 20
CHUNK_CHARS = 4 << 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Charset = Literal["utf-8", "cp1252", "latin-1"]


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written.

    Attributes:
        delimiter: What parts two cells; where it is longer than one character, cells have no
            quotes around them.
        header: Whether the first row has the names of the columns.
        names: Names of the columns of a file without a header; by default column_1, column_2, …
        charset: How letters are kept as bytes.
        quoted: Whether cells may stand in quotes, which then are no part of them.
    """

    delimiter: str = ","
    header: bool = True
    names: tuple[str, ...] = ()
    charset: Charset = "utf-8"
    quoted: bool = True


class CsvFile:
    """A CSV file. Row numbers are those of a spreadsheet: a header is row 1."""

    def __init__(self, path: Path, form: CsvForm | None = None) -> None:
        self.path = path
        self.form = form or CsvForm()
        self.first_row = 2 if self.form.header else 1
        self._digest = ""

    def names(self) -> tuple[str, ...]:
        with open_regular(self.path) as stream:
            records = self._rows(TextLines(self.path, stream, self.form.charset))
            return self._header(records) if self.form.header else self._given_names(records)

    def chunks(self, rows: int) -> Iterator[Chunk]:
        names = self.names()
        with open_regular(self.path) as stream:
            lines = TextLines(self.path, stream, self.form.charset)
            records = self._rows(lines)
            if self.form.header and self._header(records) != names:
                raise DataError(f"{self.path}: changed while it was read")
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
        records: Iterator[list[str]]
        # The csv module knows delimiters of one character alone.
        if len(self.form.delimiter) > 1 or not self.form.quoted:
            records = (_parted(line, self.form.delimiter) for line in lines)
        else:
            records = csv.reader(lines, delimiter=self.form.delimiter, strict=True)
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
                hint = (
                    "; has the file a header? Say header: false if not"
                    if POINT.plain(name)
                    else ""
                )
                raise DataError(f"{self.path}: row 1: two columns are named '{name}'{hint}")
        if not names:
            raise DataError(f"{self.path}: row 1: is empty; column names belong there")
        return tuple(names)

    def _given_names(self, records: Iterator[list[str]]) -> tuple[str, ...]:
        first = next(records, None)
        if not first:
            raise DataError(f"{self.path}: row 1: is empty")
        if not self.form.names:
            return tuple(f"column_{place}" for place in range(1, len(first) + 1))
        if len(first) != len(self.form.names):
            raise DataError(
                f"{self.path}: row 1: has {len(first)} cells, and data.source.names has "
                f"{len(self.form.names)}{delimiter_hint(first)}"
            )
        return self.form.names

    def _checked(
        self, records: Iterator[list[str]], names: tuple[str, ...]
    ) -> Iterator[list[str]]:
        """Yield the records that have one cell for each column; blank lines only at the end."""
        blank = None
        for row, record in enumerate(records, self.first_row):
            if not record:
                blank = blank or row
                continue
            if blank is not None:
                raise DataError(f"{self.path}: row {blank}: is empty")
            if len(record) != len(names):
                hint = delimiter_hint(names)
                if not hint and len(record) > len(names):
                    hint = f"; quote cells that contain {shown(self.form.delimiter)}"
                other = "the header" if self.form.header else "row 1"
                raise DataError(
                    f"{self.path}: row {row}: has {len(record)} cells, {other} has "
                    f"{len(names)}{hint}"
                )
            yield record


class TextLines:
    """The lines of a file as text, each checked; `row` is for messages."""

    def __init__(self, path: Path, stream: IO[bytes], charset: Charset = "utf-8") -> None:
        self.path = path
        self._charset = charset
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
            return line.decode(self._charset)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path}: row {self.row}: byte 0x{line[error.start]:02X} is not "
                f"{self._charset.upper()}; save the file as UTF-8"
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
        return "a quote is opened and never closed; if quotes are letters say quoted: false"
    if "expected after" in text:
        return (
            "text follows a closing quote; a quote within a cell is written twice, or say "
            "quoted: false if quotes are letters"
        )
    if "new-line character" in text:
        return "a line ends with a lone carriage return; save the file with usual line ends"
    return text


def _parted(line: str, delimiter: str) -> list[str]:
    plain = line.rstrip("\r\n")
    return plain.split(delimiter) if plain else []
