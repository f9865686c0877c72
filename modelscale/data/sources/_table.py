"""What the sources that read tables have in common."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.data.cells import Marks
from modelscale.data.reading import DEFAULT_MISSING, Reading, file_bytes
from modelscale.data.sources.base import SourceSpec

if TYPE_CHECKING:
    from modelscale.data.raw import Raw
    from modelscale.data.tables import TableFile


class TableSource(SourceSpec):
    """A table of rows and named columns."""

    path: Path
    """The file; a relative path starts at the working directory."""

    target: str | tuple[str, ...] | None = None
    """Column to learn; several make a regression with several outputs."""

    group: str | None = None
    """Column whose equal values stay in one part, for `split: group`."""

    time: str | None = None
    """Column of numbers or dates that orders the rows, for `split: time`."""

    time_format: str | None = None
    """How dates are written, as `%d.%m.%Y %H:%M`; None for ISO 8601 and numbers."""

    part: str | None = None
    """Column that says train, validation or test, for `split: column`."""

    missing: tuple[str, ...] = DEFAULT_MISSING
    """Texts of a missing cell."""

    @abstractmethod
    def file(self) -> TableFile:
        """Return the file's reader."""

    def marks(self) -> Marks:
        """Return how numbers are written."""
        return Marks()

    def estimated_bytes(self) -> int:
        return 4 * file_bytes(self.path)

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.tables import TableColumns, read_table

        names = (self.target,) if isinstance(self.target, str) else self.target or ()
        columns = TableColumns(
            names,
            self.group,
            self.time,
            self.part,
            frozenset(self.missing),
            self.time_format,
            self.marks(),
        )
        return read_table(self.file(), columns, how or Reading())
