"""Tables that name a file, such as an image or a recording, in each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.data.raw import Raw, Texts
from modelscale.data.reading import Reading
from modelscale.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class TableRoles:
    """What the columns of a table that names files are for.

    Attributes:
        file: Paths, relative ones from the folder of the table.
        target: What is learnt.
        group: Equal values stay in one part.
        part: Says train, validation or test.
        missing: Texts of a missing cell.
    """

    file: str
    target: str | None
    group: str | None
    part: str | None
    missing: frozenset[str]


def read_file_table(path: Path, roles: TableRoles) -> tuple[Raw, list[str]]:
    """Return a table without inputs, and the file that each row names.

    Raises:
        DataError: Naming the row without a file.
        InputMissing: If the table is not there.
    """
    from modelscale.data.opening import source_of
    from modelscale.data.sources._table import TableSource
    from modelscale.data.tables import TableColumns, read_table

    source = source_of(path)
    if not isinstance(source, TableSource):
        raise DataError(f"{path}: is no table (.csv, .tsv, .jsonl, .parquet)")
    names = () if roles.target is None else (roles.target,)
    columns = TableColumns(names, roles.group, None, roles.part, roles.missing)
    declared = dict.fromkeys((roles.file, *names), "category")
    table = read_table(source.file(), columns, Reading(roles=declared, only=True))
    cells = table.columns.get(roles.file)
    if not isinstance(cells, Texts):
        raise DataError(f"{path}: no column '{roles.file}' of files; name it: data.source.file")
    files = [cells.words[code] if code >= 0 else "" for code in cells.codes_N.tolist()]
    for row, file in enumerate(files, table.first_row):
        if not file:
            raise DataError(f"{path}: row {row}, column '{roles.file}': is missing")
    return table, files
