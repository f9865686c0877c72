"""JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.data.sources._table import TableSource

if TYPE_CHECKING:
    from modelscale.data.tables import TableFile


class JsonlSource(TableSource):
    """A file with a JSON object in each line; the first line names all columns."""

    def file(self) -> TableFile:
        from modelscale.data.jsonl_file import JsonlFile

        return JsonlFile(self.path)
