"""Folders of recordings, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.data.reading import Reading, file_bytes
from modelscale.data.sources._sounds import SoundSource

if TYPE_CHECKING:
    from modelscale.data.raw import Raw


class AudioFolderSource(SoundSource):
    """Class folders of recordings (WAV; more with the extra `audio`); a folder is a class."""

    path: Path
    """The folder of class folders."""

    def estimated_bytes(self) -> int:
        return 2 * sum(map(file_bytes, self.path.glob("*/*"))) if self.path.is_dir() else 0

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.sounds import read_folder

        return read_folder(self.path, self.options(), how or Reading())
