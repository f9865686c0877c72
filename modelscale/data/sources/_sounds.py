"""What the sources of recordings have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.data.sound_files import Channels
from modelscale.data.sources.base import SourceSpec

if TYPE_CHECKING:
    from modelscale.data.recordings import SoundOptions


class SoundSource(SourceSpec):
    """Recordings: WAV, and with the extra `audio` FLAC, Ogg and AIFF."""

    rate: int | None = Field(None, ge=1_000, le=384_000)
    """Samples a second to which all are brought; by default all must have the first one's."""

    seconds: float | None = Field(None, gt=0, le=600)
    """Seconds of each recording that are taken; shorter ones are padded. By default those of
    the longest one, of which padding is no part: its length is kept."""

    channels: Channels = "one"
    """What becomes of several channels: `one` refuses them, `mix` averages, `first` drops the
    others."""

    def options(self) -> SoundOptions:
        """Return how recordings become rows."""
        from modelscale.data.recordings import SoundOptions

        return SoundOptions(self.rate, self.seconds, self.channels)
