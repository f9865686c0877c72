"""The values that a key of a spec may take: in a search, or among members of an ensemble."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from modelscale.spec.base import Spec, clash, faults_at


class SearchRange(Spec):
    """The values that one key of the spec may take: `low` and `high`, or `choices`."""

    low: int | float | None = None
    """Smallest value."""

    high: int | float | None = None
    """Largest value."""

    log: bool = False
    """Whether orders of magnitude are searched alike."""

    step: int | float | None = Field(None, gt=0)
    """Distance of neighbouring values, from `low` on; any value between the bounds when left
    out, any whole one for a key that holds whole numbers."""

    choices: tuple[Any, ...] | None = Field(None, min_length=1)
    """The values themselves: numbers, words, lists, or whole sub-sections."""

    when: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Other paths and the values under which this key is searched at all; all must hold:
    `when: {model.kind: [cnn, resnet]}`."""

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

    @model_validator(mode="after")
    def _conditions_name_values(self) -> Self:
        empty = [path for path, wanted in self.when.items() if not wanted]
        if empty:
            raise faults_at(*((("when", path), "names no value") for path in empty))
        return self

    def values(self) -> dict[tuple[str | int, ...], Any]:
        """Return the values that bound or make up the range, by where they are written."""
        if self.choices is not None:
            return {("choices", index): value for index, value in enumerate(self.choices)}
        return {("low",): self.low, ("high",): self.high}
