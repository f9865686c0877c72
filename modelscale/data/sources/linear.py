"""Points on a line, with noise: the smallest problem whose answer is known."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from modelscale.data.sources.base import SourceSpec
from modelscale.spec.base import clash

if TYPE_CHECKING:
    from modelscale.data.raw import Raw
    from modelscale.data.reading import Reading


class LinearSource(SourceSpec):
    """y = intercept + slope · x + noise · N(0, 1), with x uniform between `low` and `high`."""

    samples: int = Field(200, ge=1)
    """Points."""

    intercept: float = 1.0
    """y at x = 0."""

    slope: float = 2.0
    """Change of y for each unit of x."""

    noise: float = Field(0.1, ge=0)
    """Standard deviation of y around the line."""

    low: float = -1.0
    """Smallest x."""

    high: float = 1.0
    """Largest x."""

    seed: int = Field(0, ge=0)
    """Seed of the points."""

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low >= self.high:
            raise clash(f"low {self.low} is not below high {self.high}", "low", "high")
        return self

    def read(self, how: Reading | None = None) -> Raw:
        import numpy as np

        from modelscale.data.raw import Raw
        from modelscale.data.shuffling import uniform
        from modelscale.seeds import derive

        def draw(purpose: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
            return uniform(self.samples, derive(self.seed, "linear", purpose))

        x_N = self.low + (self.high - self.low) * draw("x")
        # Box and Muller, Annals of Mathematical Statistics, 1958; 1 - u is never 0.
        radius_N = np.sqrt(-2.0 * np.log(1.0 - draw("radius")))
        normal_N = radius_N * np.cos(2.0 * math.pi * draw("angle"))
        y_N = self.intercept + self.slope * x_N + self.noise * normal_N
        text = self.model_dump_json()
        return Raw(
            target=y_N,
            target_names=("y",),
            fingerprint=hashlib.sha256(text.encode()).hexdigest(),
            origin="linear",
            columns={"x": x_N},
        )
