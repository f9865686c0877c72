"""Tables that name recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.data.reading import DEFAULT_MISSING, Reading
from modelscale.data.sources._sounds import SoundSource

if TYPE_CHECKING:
    from modelscale.data.raw import Raw


class AudioTableSource(SoundSource):
    """A table (CSV, JSON lines or Parquet) that names a recording and its label in each row."""

    path: Path
    """The table."""

    file: str = "file"
    """Column of the recordings' paths, relative ones from the folder of the table."""

    target: str | None = None
    """Column to learn: a class, a number, or what is said."""

    group: str | None = None
    """Column whose equal values stay in one part, for `split: group`."""

    part: str | None = None
    """Column that says train, validation or test, for `split: column`."""

    missing: tuple[str, ...] = DEFAULT_MISSING
    """Texts of a missing cell."""

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.file_tables import TableRoles
        from modelscale.data.sounds import read_table_of

        missing = frozenset(self.missing)
        roles = TableRoles(self.file, self.target, self.group, self.part, missing)
        return read_table_of(self.path, roles, self.options(), how or Reading())
