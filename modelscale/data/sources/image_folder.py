"""Folders of images, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from modelscale.data.reading import Reading
from modelscale.data.sources.base import SourceSpec

if TYPE_CHECKING:
    from modelscale.data.images import ImageOptions
    from modelscale.data.raw import Raw

Pixels = Annotated[int, Field(ge=1, le=4096)]


class ImageFolderSource(SourceSpec):
    """Class folders of images (PNG, JPEG, BMP, PPM); a folder's name is the class."""

    path: Path
    """The folder of class folders."""

    test_path: Path | None = None
    """A second folder of the same classes, which is the test part; needs `split: {kind: column,
    …}`."""

    size: tuple[Pixels, Pixels] | None = None
    """Height and width in pixels that every image is resized to; needed if they differ."""

    grayscale: bool = False
    """Whether images become one grey channel rather than red, green and blue."""

    max_pixels: int = Field(50_000_000, ge=1)
    """Largest image that is decoded: height · width."""

    def estimated_bytes(self) -> int:
        if self.size is None or not self.path.is_dir():
            return 0
        folders = [self.path] if self.test_path is None else [self.path, self.test_path]
        files = sum(1 for folder in folders for _ in folder.glob("*/*"))
        return 4 * files * self.size[0] * self.size[1] * (1 if self.grayscale else 3)

    def options(self) -> ImageOptions:
        """Return how images are decoded."""
        from modelscale.data.images import ImageOptions

        return ImageOptions(self.size, self.grayscale, self.max_pixels)

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.images import read_folder

        return read_folder(self.path, self.options(), how or Reading(), self.test_path)
