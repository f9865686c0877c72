"""What a search wants of a trial, and how that is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.commands.experiment import Experiment
from modelscale.spec.paths import apply
from modelscale.tuning.fronts import domination_scores
from modelscale.tuning.goals import Bound, maximizes, violations
from modelscale.tuning.section import TuneSection
from modelscale.tuning.space import Params

if TYPE_CHECKING:
    from modelscale.tensors import Task
    from modelscale.training.replica import Replica

LATENCY_S = 0.3
"""Seconds for which the latency of one batch size is measured."""


@dataclass(frozen=True)
class Aims:
    """Objectives and bounds of a search.

    Attributes:
        names: Of the objectives, such as `validation/accuracy` or `model/macs`; the first one
            decides where only one can.
        maximize: For each of them whether larger is better.
        bounds: On what is measured, by name.
    """

    names: tuple[str, ...]
    maximize: tuple[bool, ...]
    bounds: dict[str, Bound]

    @staticmethod
    def of(section: TuneSection, task: Task) -> Aims:
        """Return what a `tune` section wants."""
        wanted = section.all_objectives()
        return Aims(
            tuple(objective.metric for objective in wanted),
            tuple(maximizes(o.metric, o.direction, task) for o in wanted),
            dict(section.constraints),
        )

    @property
    def label(self) -> str:
        """The validation metric that decides between epochs: the first that is an objective."""
        names = (n for n in self.names if n.startswith("validation/"))
        return next(names, "validation/loss").partition("/")[2]

    def followed(self, task: Task) -> tuple[str, bool]:
        """Return `label`, and whether to maximise it."""
        wanted = dict(zip(self.names, self.maximize, strict=True))
        name = f"validation/{self.label}"
        return self.label, wanted.get(name, maximizes(name, "auto", task))

    def values(self, measured: dict[str, float]) -> tuple[float | None, ...]:
        """Return the objectives of a trial; None where one is not finite."""
        found = [measured.get(name, math.nan) for name in self.names]
        return tuple(value if math.isfinite(value) else None for value in found)

    def missed(self, measured: dict[str, float]) -> tuple[float, ...]:
        """Return how far each bound is missed; 0 or less is kept, or not yet measured."""
        missed: list[float] = []
        for name, bound in self.bounds.items():
            if name in measured:
                missed += violations({name: bound}, measured)
            else:
                missed += [0.0] * ((bound.at_most is not None) + (bound.at_least is not None))
        return tuple(missed)

    def scores(self, measured: dict[int, dict[str, float]]) -> dict[int, float]:
        """Return a score for each of some rivals at one epoch, larger for better.

        One objective scores itself; several score by the front that a trial lies on.
        """
        points = {
            number: tuple(values.get(name, math.nan) for name in self.names)
            for number, values in measured.items()
        }
        finite = {n: p for n, p in points.items() if all(map(math.isfinite, p))}
        if len(self.names) == 1:
            sign = 1.0 if self.maximize[0] else -1.0
            found = {number: sign * point[0] for number, point in finite.items()}
        else:
            ranked = domination_scores(list(finite.values()), self.maximize)
            found = dict(zip(finite, ranked, strict=True))
        return {number: found.get(number, -math.inf) for number in measured}


def winners_spec(experiment: Experiment, params: Params, label: str) -> Experiment:
    """Return the spec of a search's winner: its values, without the search.

    Args:
        experiment: With the search.
        params: Of the winner, by spec key.
        label: Metric that decided; trained again, it is to keep epochs by the same measure.
    """
    variant = apply(experiment, params).model_copy(update={"tune": None})
    if variant.train.monitor != "auto":
        return variant
    plan = variant.train.model_copy(update={"monitor": label})
    return variant.model_copy(update={"train": plan})


def measured_of_network(replica: Replica, names: tuple[str, ...]) -> dict[str, float]:
    """Return what is measured of a network before it is trained, as far as it is asked for.

    Args:
        replica: What is to be trained.
        names: `model/parameters`, `model/macs`, `model/bytes`, `latency_ms/<batch>`; others
            are passed over.
    """
    from modelscale.evaluation.latency import measure_latency
    from modelscale.evaluation.macs import count_macs, parameter_bytes, parameter_count
    from modelscale.training.cohort import build_network

    wanted = [name for name in names if not name.startswith("validation/")]
    if not wanted:
        return {}
    network, shape = build_network(replica).eval(), replica.data.inputs.shape
    found: dict[str, float] = {}
    for name in wanted:
        kind, _, which = name.partition("/")
        if kind == "latency_ms":
            device = replica.data.y.device
            batches = (int(which),)
            latency = measure_latency(
                network.to(device), shape, batches, device, seconds=LATENCY_S
            )
            found[name] = latency[0].median_ms
        elif which == "macs":
            found[name] = float(count_macs(network, shape))
        elif which == "bytes":
            found[name] = float(parameter_bytes(network))
        else:
            found[name] = float(parameter_count(network))
    return found
