"""The `tune` section of a spec."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from modelscale.spec.base import Spec, clash, faults_at
from modelscale.spec.quantities import Seconds
from modelscale.spec.search_range import SearchRange as SearchRange
from modelscale.tuning.early_stops.base import EarlyStopSpec
from modelscale.tuning.goals import Bound, Direction, ObjectiveSpec, checked_name
from modelscale.tuning.samplers.base import SamplerSpec


class Prior(Spec):
    """Where good values of a key are believed to be."""

    center: Any
    """The most promising value: values near it are tried more often, normally distributed over
    the key's range with a tenth of it as the standard deviation; of `choices` it is one."""

    weight: float = Field(0.5, gt=0, le=1)
    """Share of the first trials that lean on it; trial n does with the probability
    weight · 10 / (10 + n)."""


class TunedRange(SearchRange):
    """The values that a search gives one key of the spec, and which of them are promising."""

    prior: Prior | None = None
    """Where good values are believed to be: `{center: 1e-3}`. A share of the trials, fewer and
    fewer, tries them first; the rest of the range is searched all the same."""


class TuneSection(Spec):
    """A search over any keys of the spec."""

    space: dict[str, TunedRange] = Field(min_length=1)
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

    workers: Literal["auto"] | PositiveInt = "auto"
    """Processes that share the search on this machine, each with cohorts of its own; `auto`
    takes one for each CUDA device, or as many as there are free cores where the search is long
    enough to be worth their start."""

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
