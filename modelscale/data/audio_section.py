"""The `data.audio` and `data.transcript` sections of a spec."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from modelscale.spec.base import Spec, clash


class AudioSection(Spec):
    """How recordings become log-mel spectra: energies in bands that are as wide as we hear."""

    bands: int = Field(40, ge=2, le=256)
    """Bands of the mel scale."""

    window_ms: float = Field(25.0, gt=0, le=1000)
    """Milliseconds of a frame, under a Hann window."""

    step_ms: float = Field(10.0, gt=0, le=1000)
    """Milliseconds from the beginning of a frame to that of the next."""

    low_hz: float = Field(20.0, ge=0)
    """Where the lowest band begins."""

    high_hz: float | None = Field(None, gt=0)
    """Where the highest band ends; by default at half the rate."""

    scale: Literal["htk", "slaney"] = "htk"
    """Which mel scale: `htk` is 2595·log10(1 + f/700) with triangles of height 1, `slaney` is
    even up to 1 kHz and logarithmic above with triangles of equal area."""

    floor: float = Field(1e-6, gt=0)
    """Least energy of a band before the logarithm, full scale being 1."""

    remove_mean: bool = False
    """Whether each recording's own mean of each band is taken away, and with it what
    microphone and loudness do to all of its frames (cepstral mean normalisation)."""

    raise_to_db: float | None = Field(None, ge=-90, le=0)
    """Mean power to which quieter recordings are raised, full scale being 0; -30 suits speech
    that was recorded from any distance."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.high_hz is not None and self.high_hz <= self.low_hz:
            raise clash(
                f"low_hz {self.low_hz:g} is not below high_hz {self.high_hz:g}",
                "low_hz",
                "high_hz",
            )
        if self.step_ms > self.window_ms:
            raise clash(
                f"step_ms {self.step_ms:g} is above window_ms {self.window_ms:g}",
                "step_ms",
                "window_ms",
            )
        return self


class TranscriptSection(Spec):
    """How what is said becomes symbols that a network writes."""

    unit: Literal["characters", "words"] = "characters"
    """What a symbol is. With words, nothing can be written that was in no training row."""

    lowercase: bool = True
    """Whether capitals count as their small letters."""
