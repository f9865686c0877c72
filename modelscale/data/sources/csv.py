"""CSV files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.data.sources._table import TableSource

if TYPE_CHECKING:
    from modelscale.data.tables import TableFile


class CsvSource(TableSource):
    """A CSV file in UTF-8 with a header; every row has exactly as many cells."""

    delimiter: str = Field(",", pattern=r'^[^"\r\n]$')
    """Character between two cells."""

    def file(self) -> TableFile:
        from modelscale.data.csv_file import CsvFile

        return CsvFile(self.path, self.delimiter)
