"""What the sources of images have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from modelscale.data.sources.base import SourceSpec

if TYPE_CHECKING:
    from modelscale.data.images import ImageOptions

Pixels = Annotated[int, Field(ge=1, le=4096)]


class ImageSource(SourceSpec):
    """Images: PNG, JPEG, BMP, PPM."""

    size: tuple[Pixels, Pixels] | None = None
    """Height and width in pixels that every image is resized to; needed if they differ."""

    grayscale: bool = False
    """Whether images become one grey channel rather than red, green and blue."""

    max_pixels: int = Field(50_000_000, ge=1)
    """Largest image that is decoded: height · width."""

    def options(self) -> ImageOptions:
        """Return how images are decoded."""
        from modelscale.data.images import ImageOptions

        return ImageOptions(self.size, self.grayscale, self.max_pixels)

    def bytes_of(self, files: int) -> int:
        """Return about how much memory so many images take; 0 where their size is not known."""
        if self.size is None:
            return 0
        return 4 * files * self.size[0] * self.size[1] * (1 if self.grayscale else 3)
