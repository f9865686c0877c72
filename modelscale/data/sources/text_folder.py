"""Folders of texts, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.data.reading import Reading
from modelscale.data.sources.base import SourceSpec

if TYPE_CHECKING:
    from modelscale.data.raw import Raw


class TextFolderSource(SourceSpec):
    """Class folders of texts (`.txt`, UTF-8); a folder's name is the class."""

    path: Path
    """The folder of class folders."""

    def estimated_bytes(self) -> int:
        if not self.path.is_dir():
            return 0
        return 4 * sum(file.stat().st_size for file in self.path.glob("*/*.txt"))

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.text_files import read_folder

        return read_folder(self.path, how or Reading())
