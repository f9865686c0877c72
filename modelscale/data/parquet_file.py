"""Parquet files, read strictly: plain columns only, never an extension type.

Extension types are how hostile files have made readers run code (CVE-2023-47248,
CVE-2026-41486).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from modelscale.data.reading import MAX_CELL_CHARS, file_digest, open_regular, shown
from modelscale.errors import DataError, missing_extra

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.cells import Cell
    from modelscale.data.tables import Chunk


class ParquetTable:
    """A Parquet file as a table; rows count from 1."""

    first_row = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = ""

    def names(self) -> tuple[str, ...]:
        file = self._open()
        try:
            return self._checked_names(file)
        finally:
            file.close()

    def chunks(self, rows: int) -> Iterator[Chunk]:
        import pyarrow as pa

        file = self._open()
        row = 0
        try:
            names = self._checked_names(file)
            for batch in file.iter_batches(batch_size=rows):
                yield {n: self._cells(batch.column(i), n, row) for i, n in enumerate(names)}
                row += batch.num_rows
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from None
        finally:
            file.close()
        self._digest = file_digest(self.path)

    def digest(self) -> str:
        return self._digest

    def _open(self) -> Any:
        open_regular(self.path).close()  # tells what is missing
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise missing_extra("pyarrow", "parquet", f"reading {self.path}") from None
        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> DataError:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        return DataError(f"{self.path}: is no intact Parquet file: {reason}")

    def _checked_names(self, file: Any) -> tuple[str, ...]:
        schema = file.schema_arrow
        names = tuple(schema.names)
        if not names:
            raise DataError(f"{self.path}: has no columns")
        for place, field in enumerate(schema):
            if field.name in names[:place]:
                raise DataError(f"{self.path}: two columns are named '{field.name}'")
            if not _is_plain(field):
                raise DataError(
                    f"{self.path}: column '{field.name}' has the type {field.type}; numbers, "
                    "text, booleans and dates can be read"
                )
        return names

    def _cells(self, column: Any, name: str, row: int) -> NDArray[np.float64] | Sequence[Cell]:
        import pyarrow as pa
        import pyarrow.types as kinds
        from pyarrow import compute

        if kinds.is_dictionary(column.type):
            column = column.dictionary_decode()
        kind = column.type
        if kinds.is_null(kind):
            return [None] * len(column)
        if kinds.is_boolean(kind):
            words: dict[Any, Cell] = {None: None, True: "true", False: "false"}
            return [words[cell] for cell in column.to_pylist()]
        if kinds.is_string(kind) or kinds.is_large_string(kind):
            return [
                self._text(cell, name, row + i) for i, cell in enumerate(column.to_pylist(), 1)
            ]
        if kinds.is_temporal(kind):
            # To microseconds first, of which int64 holds 290,000 years.
            stamps = column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)))
            micros = stamps.cast(pa.int64()).cast(pa.float64(), safe=False)
            seconds: NDArray[np.float64] = micros.to_numpy(zero_copy_only=False) / 1e6
            return seconds
        if kinds.is_integer(kind):
            # As Python's integers, so that those which float64 cannot hold are noticed.
            ends = compute.min_max(column).as_py()
            if max(abs(ends["min"] or 0), abs(ends["max"] or 0)) > 2**53:
                cells: list[Cell] = column.to_pylist()
                return cells
        values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(
            zero_copy_only=False
        )
        return values

    def _text(self, cell: str | None, name: str, row: int) -> Cell:
        if cell is None:
            return None
        if len(cell) > MAX_CELL_CHARS:
            raise DataError(
                f"{self.path}: row {row}, column '{name}': longer than "
                f"{MAX_CELL_CHARS:,} characters: {shown(cell[:40])}"
            )
        return cell.strip()


def _is_plain(field: Any) -> bool:
    """Return whether a column is of a type that is read; an extension type never is."""
    import pyarrow.types as kinds

    kind = field.type
    if b"ARROW:extension:name" in (field.metadata or {}):
        return False
    if kinds.is_dictionary(kind):
        kind = kind.value_type
    plain = (
        kinds.is_integer(kind),
        kinds.is_floating(kind),
        kinds.is_decimal(kind),
        kinds.is_boolean(kind),
        kinds.is_string(kind),
        kinds.is_large_string(kind),
        kinds.is_timestamp(kind),
        kinds.is_date(kind),
        kinds.is_null(kind),
    )
    return any(plain)
