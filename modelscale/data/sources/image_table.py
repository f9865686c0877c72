"""Tables that name images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.data.reading import DEFAULT_MISSING, Reading
from modelscale.data.sources._images import ImageSource

if TYPE_CHECKING:
    from modelscale.data.raw import Raw


class ImageTableSource(ImageSource):
    """A table (CSV, JSON lines or Parquet) that names an image and its label in each row."""

    path: Path
    """The table."""

    file: str = "file"
    """Column of the images' paths, relative ones from the folder of the table."""

    target: str | None = None
    """Column to learn: a class or a number."""

    group: str | None = None
    """Column whose equal values stay in one part, for `split: group`, such as the patient."""

    part: str | None = None
    """Column that says train, validation or test, for `split: column`."""

    missing: tuple[str, ...] = DEFAULT_MISSING
    """Texts of a missing cell."""

    def estimated_bytes(self) -> int:
        if not self.path.is_file():
            return 0
        with self.path.open("rb") as file:
            return self.bytes_of(sum(1 for _ in file))

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.file_tables import TableRoles
        from modelscale.data.images import read_table_of

        missing = frozenset(self.missing)
        roles = TableRoles(self.file, self.target, self.group, self.part, missing)
        return read_table_of(self.path, roles, self.options(), how or Reading())
