"""How recordings become spectra, as data that checkpoints keep."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelscale.spec.base import Spec


class Spectra(Spec):
    """Log-mel spectra of recordings of one rate; see `AudioSection` for the words."""

    rate: int = Field(ge=1)
    """Samples a second."""

    window: int = Field(ge=2)
    """Samples of a frame."""

    step: int = Field(ge=1)
    """Samples from the beginning of a frame to that of the next."""

    bands: int = Field(ge=2)
    """Bands of the mel scale."""

    low_hz: float = Field(ge=0)
    """Where the lowest band begins."""

    high_hz: float = Field(gt=0)
    """Where the highest band ends."""

    scale: Literal["htk", "slaney"]
    """Which mel scale."""

    floor: float = Field(gt=0)
    """Least energy of a band before the logarithm."""

    remove_mean: bool = False
    """Whether each recording's own mean of each band is taken away."""

    fourier: int | None = Field(None, ge=2)
    """Length of the Fourier transform; the next power of two above `window` where None."""

    raise_to_db: float | None = None
    """Mean power to which quieter recordings are raised; full scale is 0."""

    def frames(self, samples: int) -> int:
        """Return how many frames rows of so many samples have."""
        return 1 + (samples - self.window) // self.step
