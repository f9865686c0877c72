"""A text file, cut into windows for a language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from modelscale.data.reading import Reading, file_bytes
from modelscale.data.sources.base import SourceSpec

if TYPE_CHECKING:
    from modelscale.data.raw import Raw


class TextFileSource(SourceSpec):
    """A text (`.txt` or `.txt.gz`, UTF-8) of which each next symbol is to be predicted."""

    path: Path
    """The file; a relative path starts at the working directory."""

    unit: Literal["characters", "words"] = "characters"
    """What a symbol is: a character, or a word, mark or line break."""

    length: int = Field(64, ge=1, le=65_536)
    """Symbols of a window that are predicted, each from those before it in the window."""

    stride: int | None = Field(None, ge=1)
    """Symbols from the beginning of a window to that of the next; by default `length`."""

    lowercase: bool = False
    """Whether capitals count as their small letters."""

    def estimated_bytes(self) -> int:
        repeated = max(1, self.length // (self.stride or self.length))
        return (4 + 2 * repeated) * file_bytes(self.path)

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.text_stream import read_stream

        return read_stream(self.path, self.unit, self.lowercase, self.length, self.stride)
