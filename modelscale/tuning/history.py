"""What a search knows when it proposes: the space, and what came out so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from modelscale.tuning.space import Params, Space

State = Literal["complete", "stopped", "diverged", "infeasible", "failed"]


@dataclass(frozen=True)
class Finished:
    """What came out of one trial, as far as a sampler needs it.

    Attributes:
        params: Values by spec key.
        values: The objectives; None where one is not finite or was not measured.
        state: How it ended: `stopped` early by a rule, `diverged` by itself, `infeasible`
            without training, `failed` for a reason that says nothing of its parameters.
        curve: The first objective by epoch.
        violations: How far each constraint is missed; 0 or less where it is kept.
    """

    params: Params
    values: tuple[float | None, ...]
    state: State
    curve: dict[int, float] = field(default_factory=dict)
    violations: tuple[float, ...] = ()

    def measured(self) -> tuple[float, ...] | None:
        """Return the objectives if all of them are finite."""
        values = tuple(v for v in self.values if v is not None and math.isfinite(v))
        return values if values and len(values) == len(self.values) else None


@dataclass(frozen=True)
class History:
    """All that proposals may depend on.

    Attributes:
        space: What is searched.
        finished: All earlier trials, in order.
        maximize: For each objective whether larger is better.
        seed: Of the search.
    """

    space: Space
    finished: Sequence[Finished]
    maximize: tuple[bool, ...]
    seed: int

    def worst(self) -> tuple[float, ...] | None:
        """Return the worst of each objective so far, None before any is known."""
        known = [values for t in self.finished if (values := t.measured())]
        columns = zip(self.maximize, zip(*known, strict=True), strict=True) if known else ()
        return tuple(min(v) if up else max(v) for up, v in columns) or None
