"""The learning rate of each size: tried on the small ones, carried over to the large ones.

The best rate of a size is the minimum of a parabola through the best rate tried and its two
neighbours, in logarithms of rate and loss. Through those of several sizes goes the line
log lr = log c - a log N (least squares), which gives every size its rate. Under `mup` one size
is tried, so that a is 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from modelscale.commands.scale_ladder import Ladder, Rung
from modelscale.commands.scale_results import Outcome, loss_of

if TYPE_CHECKING:
    from modelscale.tensors import Task

FOLDER = "rates"


@dataclass(frozen=True)
class RateRule:
    """lr = c N^-a.

    Attributes:
        c: At one parameter.
        a: How fast it falls with the number of parameters.
        best: Best rate of each size that was tried, by its parameters.
        tried: Mean loss by parameters and rate; rates that diverged are left out.
        edges: Sizes, by parameters, whose best rate is the lowest or highest tried.
    """

    c: float
    a: float
    best: Mapping[int, float]
    tried: Mapping[int, Mapping[float, float]]
    edges: tuple[int, ...]

    def at(self, parameters: int) -> float:
        """Return the learning rate of a size, to three digits."""
        return float(f"{self.c * parameters**-self.a:.3g}")

    def to_json(self) -> dict[str, Any]:
        """Return the rule and what it comes from as data."""
        return {
            "rule": "lr = c N^-a",
            "c": self.c,
            "a": self.a,
            "sizes": [
                {
                    "parameters": count,
                    "best": self.best[count],
                    "edge": count in self.edges,
                    "tried": [{"lr": lr, "loss": loss} for lr, loss in found.items()],
                }
                for count, found in self.tried.items()
            ],
        }


def rate_rungs(ladder: Ladder) -> list[Rung]:
    """Return what is trained to find rates: the smallest sizes, all data, every rate."""
    rates = ladder.section.lr
    top = len(ladder.section.data.fractions) - 1
    return [
        replace(rung, lr=lr, label=f"size-{rung.size.index}-lr-{k}-seed-{rung.seed}")
        for rung in ladder.rungs
        if rung.data == top and rates.tries(rung.size.index)
        for k, lr in enumerate(rates.sweep)
    ]


def rule_of(outcomes: Sequence[Outcome], metric: str, task: Task) -> RateRule | None:
    """Return the rule that measured rates give; None if a size has no finite loss at all."""
    tried: dict[int, dict[float, float]] = {}
    for count in sorted({o.rung.size.parameters for o in outcomes}):
        own = [o for o in outcomes if o.rung.size.parameters == count]
        by_rate = {
            lr: fmean(loss_of(o, metric, task) for o in own if o.rung.lr == lr)
            for lr in sorted({o.rung.lr for o in own})
        }
        tried[count] = {lr: loss for lr, loss in by_rate.items() if 0 < loss < math.inf}
        if not tried[count]:
            return None
    best, edges = {}, []
    for count, found in tried.items():
        best[count], edge = _lowest(found)
        if edge:
            edges.append(count)
    a, log_c = _line(
        [math.log(count) for count in best], [math.log(lr) for lr in best.values()]
    )
    return RateRule(math.exp(log_c), a, best, tried, tuple(edges))


def _lowest(found: Mapping[float, float]) -> tuple[float, bool]:
    """Return the rate of the least loss, between the tried ones, and whether it is an edge."""
    rates = sorted(found)
    place = min(range(len(rates)), key=lambda k: found[rates[k]])
    if place in {0, len(rates) - 1}:
        return rates[place], True
    (x0, y0), (x1, y1), (x2, y2) = (
        (math.log(lr), math.log(found[lr])) for lr in rates[place - 1 : place + 2]
    )
    # Newton's form: slope of the left part, and how the slope changes
    slope = (y1 - y0) / (x1 - x0)
    bend = ((y2 - y1) / (x2 - x1) - slope) / (x2 - x0)
    if bend <= 0:
        return rates[place], False
    return math.exp((x0 + x1) / 2 - slope / (2 * bend)), False


def _line(x: list[float], y: list[float]) -> tuple[float, float]:
    """Return a and log c of y = log c - a x by least squares; a is 0 for a single point."""
    middle_x, middle_y = fmean(x), fmean(y)
    spread = math.fsum((one - middle_x) ** 2 for one in x)
    if spread == 0:
        return 0.0, middle_y
    slope = (
        math.fsum((u - middle_x) * (v - middle_y) for u, v in zip(x, y, strict=True)) / spread
    )
    return 0.0 - slope, middle_y - slope * middle_x
