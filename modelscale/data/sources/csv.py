"""CSV files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from modelscale.data.cells import Marks
from modelscale.data.sources._table import TableSource
from modelscale.spec.base import clash

if TYPE_CHECKING:
    from modelscale.data.tables import TableFile


class CsvSource(TableSource):
    """A CSV file; every row has exactly as many cells."""

    delimiter: str = Field(",", pattern=r'^[^"\r\n]{1,4}$')
    """What parts two cells; longer than one character, as `::`, where no cell is quoted."""

    header: bool = True
    """Whether the first row has the names of the columns."""

    names: tuple[str, ...] = ()
    """Column names of a file without a header; by default column_1, column_2, …"""

    quoted: bool = True
    """Whether cells may stand in quotes; false where quotes are letters, as in files of
    sentences parted by tabs."""

    decimal: Literal[".", ","] = "."
    """What parts the whole from the fraction of a number."""

    thousands: Literal["", ".", ",", " ", "'"] = ""
    """What parts the thousands of a number; nothing by default."""

    charset: Literal["utf-8", "cp1252", "latin-1"] = "utf-8"
    """How letters are kept as bytes; `cp1252` is what Windows calls ANSI."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.names and self.header:
            raise clash("names are for files without a header; add header: false", "names")
        for place, name in enumerate(self.names):
            if name in self.names[:place]:
                raise clash(f"two columns are named {name!r}", "names")
        if self.thousands == self.decimal:
            raise clash("cannot be what decimal is", "thousands", "decimal")
        return self

    def marks(self) -> Marks:
        return Marks(self.decimal, self.thousands)

    def file(self) -> TableFile:
        from modelscale.data.csv_file import CsvFile, CsvForm

        form = CsvForm(self.delimiter, self.header, self.names, self.charset, self.quoted)
        return CsvFile(self.path, form)
