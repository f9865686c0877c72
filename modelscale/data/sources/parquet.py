"""Parquet files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.data.sources._table import TableSource

if TYPE_CHECKING:
    from modelscale.data.tables import TableFile


class ParquetSource(TableSource):
    """A Parquet file of plain columns: numbers, text, true and false, dates."""

    def file(self) -> TableFile:
        from modelscale.data.parquet_file import ParquetTable

        return ParquetTable(self.path)
