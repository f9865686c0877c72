"""The `tune` section of a spec."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from modelscale.spec.base import Spec, clash, faults_at
from modelscale.spec.quantities import Seconds
from modelscale.tuning.early_stops.base import EarlyStopSpec
from modelscale.tuning.goals import Bound, Direction, ObjectiveSpec, checked_name
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


class TuneSection(Spec):
    """A search over any keys of the spec."""

    space: dict[str, SearchRange] = Field(min_length=1)
    """What to vary, by the key's path: `optimizer.lr: {low: 1e-4, high: 1e-1, log: true}`."""

    sampler: SamplerSpec = Field(default_factory=lambda: SamplerSpec.model_validate("tpe"))
    """How trials are proposed."""

    metric: str = "validation/loss"
    """What decides: a metric of the validation part. The first one where `objectives` says
    several."""

    direction: Direction = "auto"
    """Which way is better; `auto` knows it of every metric."""

    objectives: tuple[ObjectiveSpec, ...] = ()
    """Several objectives in place of `metric`: `[{metric: validation/accuracy}, {metric:
    model/macs}]`. The answer is then a Pareto front."""

    constraints: dict[str, Bound] = Field(default_factory=dict)
    """Bounds that a trial must keep, by what is measured: `model/macs: {at_most: 1e6}`."""

    n_trials: int = Field(32, ge=1)
    """Trials in total, however often the search was interrupted."""

    timeout_s: Seconds | None = Field(None, gt=0)
    """Seconds in total after which no new trial is begun."""

    enqueue: tuple[dict[str, Any], ...] = ()
    """Points to try first: `[{optimizer.lr: 1e-3}]`. The sampler fills in keys left out."""

    start_with_defaults: bool = False
    """Whether the very first trial takes the values that the spec itself has, as far as they
    lie within the space."""

    early_stop: EarlyStopSpec | None = None
    """Which trials are given up early."""

    folds: int | None = Field(None, ge=2)
    """Folds of a cross-validation within train and validation parts together, by which each
    trial is judged in place of the validation part alone; for small data."""

    confirm_seeds: int = Field(3, ge=0)
    """Fresh seeds from which the winner is trained again, to tell merit from luck."""

    baseline: bool = False
    """Whether a random search of as many trials is run as well, to compare with."""

    cohort: Literal["auto"] | PositiveInt = "auto"
    """Trials of one shape trained together; `auto` measures what is fastest."""

    @model_validator(mode="before")
    @classmethod
    def _first_objective_is_the_metric(cls, data: Any) -> Any:
        """Let `metric` and `direction` name the first of several objectives."""
        several = data.get("objectives") if isinstance(data, dict) else None
        if not isinstance(several, (tuple, list)) or not several:
            return data
        first = several[0]
        if isinstance(first, ObjectiveSpec):
            first = first.model_dump()
        if not isinstance(first, dict) or not isinstance(first.get("metric"), str):
            return data
        of_first = {"metric": first["metric"], "direction": first.get("direction", "auto")}
        return {**of_first, **data}

    @field_validator("metric")
    @classmethod
    def _is_measured(cls, name: str) -> str:
        return checked_name(name)

    @field_validator("constraints")
    @classmethod
    def _are_measured(cls, bounds: dict[str, Bound]) -> dict[str, Bound]:
        for name in bounds:
            checked_name(name)
        return bounds

    @model_validator(mode="after")
    def _goals_fit(self) -> Self:
        if not self.objectives:
            return self
        if len(self.objectives) == 1:
            raise faults_at((("objectives",), "names only one; say it as 'metric'"))
        first = self.objectives[0]
        for name, own in (("metric", self.metric), ("direction", self.direction)):
            if own != getattr(first, name):
                raise clash(f"{name!r} and 'objectives' exclude each other", name, "objectives")
        names = [objective.metric for objective in self.objectives]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise faults_at((("objectives",), f"names {twice!r} twice"))
        if not self.sampler.several_objectives:
            kind = self.sampler.own_kind()
            raise clash(f"{kind} takes one objective only", "sampler", "objectives")
        return self

    def all_objectives(self) -> tuple[ObjectiveSpec, ...]:
        """Return the objectives, be they one or several."""
        one = ObjectiveSpec.model_construct(metric=self.metric, direction=self.direction)
        return self.objectives or (one,)
