"""What a search is after: objectives, and bounds that a trial must keep."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import field_validator, model_validator

from modelscale.errors import did_you_mean
from modelscale.spec.base import Spec

if TYPE_CHECKING:
    from modelscale.tensors import Task

Direction = Literal["auto", "minimize", "maximize"]
_FORMS = ("validation/<metric>", "model/parameters", "model/macs", "latency_ms/<batch>")
_NAME = re.compile(r"validation/\w+|model/(parameters|macs|bytes)|latency_ms/[1-9]\d*")


def checked_name(name: str) -> str:
    """Return the name of something that is measured of a trial.

    Raises:
        ValueError: If it is none.
    """
    if not _NAME.fullmatch(name):
        part = name.partition("/")[0]
        known = ("validation", "model", "latency_ms")
        hint = did_you_mean(part, known).partition(" (one of")[0] if part not in known else ""
        raise ValueError(f"unknown measure {name!r}{hint} (one of: {', '.join(_FORMS)})")
    return name


class ObjectiveSpec(Spec):
    """One of several objectives."""

    metric: str
    """`validation/accuracy`, `model/parameters`, `model/macs` or `latency_ms/1` (of a batch
    of 1)."""

    direction: Direction = "auto"
    """Which way is better; `auto` knows it."""

    @field_validator("metric")
    @classmethod
    def _is_measured(cls, name: str) -> str:
        return checked_name(name)


class Bound(Spec):
    """A bound on what is measured of a trial, in its own unit."""

    at_most: float | None = None
    """Largest value that is feasible."""

    at_least: float | None = None
    """Smallest value that is feasible."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.at_most is None and self.at_least is None:
            raise ValueError("needs 'at_most' or 'at_least'")
        if (
            self.at_most is not None
            and self.at_least is not None
            and self.at_least > self.at_most
        ):
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}")
        return self


def maximizes(metric: str, direction: Direction, task: Task) -> bool:
    """Return whether larger is better.

    Raises:
        ValueError: If `direction` is auto and the metric does not exist for the task.
    """
    if direction != "auto":
        return direction == "maximize"
    if not metric.startswith("validation/"):
        return False  # parameters, MACs, bytes and milliseconds are costs
    from modelscale.evaluation.metric_names import direction_of

    return direction_of(metric, task) == "maximize"


def violations(bounds: Mapping[str, Bound], measured: Mapping[str, float]) -> tuple[float, ...]:
    """Return how far each bound is missed, relative to its size; 0 or less where it is kept.

    One number for each bound, in the order of the spec, `at_most` before `at_least`. They are
    relative (to the bound, or 1 if that is smaller), since samplers add them up. A measure that
    is not finite misses its bounds by 1.

    Args:
        bounds: By the name of what is measured.
        measured: At least all of those names.
    """
    missed = []
    for name, bound in bounds.items():
        value = measured[name]
        for limit, sign in ((bound.at_most, 1.0), (bound.at_least, -1.0)):
            if limit is not None:
                excess = sign * (value - limit) / max(abs(limit), 1.0)
                missed.append(excess if math.isfinite(excess) else 1.0)
    return tuple(missed)
