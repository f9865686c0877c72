"""The `tune` section of a spec."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from modelscale.spec.base import Spec, clash
from modelscale.spec.quantities import Seconds
from modelscale.tuning.early_stops.base import EarlyStopSpec
from modelscale.tuning.samplers.base import SamplerSpec


class SearchRange(Spec):
    """The values that one key of the spec may take: `low` and `high`, or `choices`."""

    low: int | float | None = None
    """Smallest value."""

    high: int | float | None = None
    """Largest value."""

    log: bool = False
    """Whether orders of magnitude are searched alike."""

    step: int | float | None = Field(None, gt=0)
    """Distance of neighbouring values; any value between the bounds when left out."""

    choices: tuple[Any, ...] | None = Field(None, min_length=1)
    """The values themselves: numbers, words, lists, or whole sub-sections."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        bounds = self.low is not None and self.high is not None
        if (self.choices is not None) == bounds or (self.low is None) != (self.high is None):
            raise ValueError("needs either 'choices' or both 'low' and 'high'")
        if self.choices is not None and (self.log or self.step is not None):
            first = "log" if self.log else "step"
            raise clash(
                f"{first!r} goes with 'low' and 'high', not with choices", first, "choices"
            )
        if self.low is not None and self.high is not None:
            if self.low > self.high:
                raise clash(f"low {self.low} is above high {self.high}", "low", "high")
            if self.log and self.low <= 0:
                raise clash(f"a log scale needs low above 0, got {self.low}", "low", "log")
            if self.log and self.step is not None:
                raise clash("'log' and 'step' exclude each other", "log", "step")
        return self

    def values(self) -> dict[tuple[str | int, ...], Any]:
        """Return the values that bound or make up the range, by where they are written."""
        if self.choices is not None:
            return {("choices", index): value for index, value in enumerate(self.choices)}
        return {("low",): self.low, ("high",): self.high}


class TuneSection(Spec):
    """A search over any keys of the spec."""

    space: dict[str, SearchRange] = Field(min_length=1)
    """What to vary, by the key's path: `optimizer.lr: {low: 1e-4, high: 1e-1, log: true}`."""

    sampler: SamplerSpec = Field(default_factory=lambda: SamplerSpec.model_validate("tpe"))
    """How trials are proposed."""

    metric: str = "validation/loss"
    """What decides: a metric of the validation part."""

    direction: Literal["auto", "minimize", "maximize"] = "auto"
    """Which way is better; `auto` knows it of every metric."""

    n_trials: int = Field(32, ge=1)
    """Trials in total, however often the search was interrupted."""

    timeout_s: Seconds | None = Field(None, gt=0)
    """Seconds in total after which no new trial is begun."""

    early_stop: EarlyStopSpec | None = None
    """Which trials are given up early."""

    cohort: Literal["auto"] | PositiveInt = "auto"
    """Trials of one shape trained together; `auto` measures what is fastest."""
