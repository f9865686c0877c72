"""JSON lines, read strictly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from modelscale.data.reading import MAX_CELL_CHARS, open_regular, shown
from modelscale.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from modelscale.data.cells import Cell
    from modelscale.data.tables import Chunk

MAX_LINE_BYTES = 64 << 20


class JsonlFile:
    """A file of JSON objects, one a line; a key that a later line lacks is missing there."""

    first_row = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = ""

    def names(self) -> tuple[str, ...]:
        for record in self._records():
            return tuple(record)
        raise DataError(f"{self.path}: is empty")

    def chunks(self, rows: int) -> Iterator[Chunk]:
        names = self.names()
        held: list[dict[str, Cell]] = []
        for record in self._records(frozenset(names)):
            held.append(record)
            if len(held) >= rows:
                yield {name: [r.get(name) for r in held] for name in names}
                held = []
        if held:
            yield {name: [r.get(name) for r in held] for name in names}

    def digest(self) -> str:
        return self._digest

    def _records(self, names: frozenset[str] | None = None) -> Iterator[dict[str, Cell]]:
        sha = hashlib.sha256()
        with open_regular(self.path) as stream:
            row, blank = 0, 0
            while line := stream.readline(MAX_LINE_BYTES + 1):
                row += 1
                sha.update(line)
                if not line.strip():
                    blank = blank or row
                    continue
                if blank:
                    raise DataError(f"{self.path}: row {blank}: is empty")
                yield self._record(line, row, names)
        self._digest = sha.hexdigest()

    def _record(self, line: bytes, row: int, names: frozenset[str] | None) -> dict[str, Cell]:
        place = f"{self.path}: row {row}"
        if len(line) > MAX_LINE_BYTES:
            raise DataError(f"{place}: longer than {MAX_LINE_BYTES} bytes")
        try:
            record = json.loads(
                line.decode("utf-8-sig" if row == 1 else "utf-8"),
                object_pairs_hook=_unique,
                parse_constant=_refuse_constant,
            )
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise DataError(f"{place}: byte 0x{byte:02X} is not UTF-8") from None
        except RecursionError:
            raise DataError(f"{place}: is nested too deeply") from None
        except ValueError as error:
            raise DataError(f"{place}: is not a JSON object: {error}") from None
        if not isinstance(record, dict):
            raise DataError(f"{place}: is not a JSON object, but {shown(record)}")
        if not record:
            raise DataError(f"{place}: the object has no keys")
        return {name: self._cell(place, name, cell, names) for name, cell in record.items()}

    @staticmethod
    def _cell(place: str, name: str, cell: Any, names: frozenset[str] | None) -> Cell:
        if names is not None and name not in names:
            raise DataError(
                f"{place}: key '{name}' is not in the first row{did_you_mean(name, names)}"
            )
        if isinstance(cell, bool):
            return "true" if cell else "false"
        if isinstance(cell, str):
            if len(cell) > MAX_CELL_CHARS:
                raise DataError(
                    f"{place}, column '{name}': longer than {MAX_CELL_CHARS:,} characters"
                )
            if any("\ud800" <= c <= "\udfff" for c in cell):
                raise DataError(f"{place}, column '{name}': has half of a surrogate pair")
            return cell.strip()
        if cell is None or isinstance(cell, int | float):
            return cell
        raise DataError(
            f"{place}, column '{name}': {shown(cell)} is neither a number nor text; to leave "
            f"it out say data.columns: {{{name}: ignore}}"
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key '{twice}' stands there twice")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON; write null for a missing number")
