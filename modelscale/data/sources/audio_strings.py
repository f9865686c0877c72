"""Strings of words, made by joining recordings of single words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from modelscale.data.reading import Reading
from modelscale.data.sources.audio_files import AudioFilesSource
from modelscale.data.sources.base import SourceSpec
from modelscale.spec.base import clash

if TYPE_CHECKING:
    from modelscale.data.raw import Raw


class AudioStringsSource(SourceSpec):
    """Recordings of single words, joined at random with pauses; the target is what is said.

    Words of one string are all of the same part, and of the same group where there are groups.
    A recording that is in the test part is in no string of another part.
    """

    of: AudioFilesSource
    """The single words: recordings whose target says which word it is, with `test` and
    `validation` parts."""

    words: dict[str, str] = Field(default_factory=dict)
    """What is said, where it is not the target itself: `{"0": zero, "1": one}`."""

    count: int = Field(1000, ge=1, le=1_000_000)
    """Strings of the training part; each of the other parts has a quarter of it."""

    shortest: int = Field(1, ge=1, le=50)
    """Fewest words of a string."""

    longest: int = Field(5, ge=1, le=50)
    """Most words of a string."""

    pause_s: tuple[float, float] = (0.05, 0.3)
    """Shortest and longest pause before, between and after words, in seconds."""

    seed: int = Field(0, ge=0)
    """Seed of what is joined."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.shortest > self.longest:
            raise clash(
                f"shortest {self.shortest} is above longest {self.longest}",
                "shortest",
                "longest",
            )
        low, high = self.pause_s
        if not 0 <= low <= high <= 5:
            raise ValueError(f"pause_s must be from 0 to 5 and in order, got {self.pause_s}")
        return self

    def estimated_bytes(self) -> int:
        return self.of.estimated_bytes()

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.sound_strings import StringOptions, joined

        options = StringOptions(
            self.words, self.count, (self.shortest, self.longest), self.pause_s, self.seed
        )
        return joined(self.of.read(how), options)
