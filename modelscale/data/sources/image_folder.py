"""Folders of images, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.data.reading import Reading
from modelscale.data.sources._images import ImageSource

if TYPE_CHECKING:
    from modelscale.data.raw import Raw


class ImageFolderSource(ImageSource):
    """Class folders of images (PNG, JPEG, BMP, PPM); a folder's name is the class."""

    path: Path
    """The folder of class folders."""

    test_path: Path | None = None
    """A second folder of the same classes, which is the test part; needs `split: {kind: column,
    …}`."""

    def estimated_bytes(self) -> int:
        if not self.path.is_dir():
            return 0
        folders = [self.path] if self.test_path is None else [self.path, self.test_path]
        return self.bytes_of(sum(1 for folder in folders for _ in folder.glob("*/*")))

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.images import read_folder

        return read_folder(self.path, self.options(), how or Reading(), self.test_path)
