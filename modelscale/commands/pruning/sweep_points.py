"""The points of a sweep: models cut or rewritten to several sizes in several ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from modelscale.commands.pruning.bench import Bench, Retrained
from modelscale.commands.pruning.rewriting import Rewritten, factorised, separated
from modelscale.commands.pruning.structured import start_of
from modelscale.errors import SpecError
from modelscale.pruning.kinds.depthwise_separable import DepthwiseSeparable
from modelscale.pruning.kinds.low_rank import LowRank
from modelscale.pruning.kinds.structured import Structured
from modelscale.pruning.section import Sweep, Target

if TYPE_CHECKING:
    from modelscale.pruning.allocation import Allocation
    from modelscale.training.artifact import Model


@dataclass(frozen=True)
class Point:
    """One size in one way.

    Attributes:
        label: Its name.
        start: The cut model, before training.
        facts: How it was cut.
    """

    label: str
    start: Model
    facts: dict[str, Any]


@dataclass(frozen=True)
class TrainedPoint:
    """One size in one way, trained.

    Attributes:
        label: Its name.
        facts: How it was made smaller.
        trained: What became of it.
    """

    label: str
    facts: dict[str, Any]
    trained: Retrained


def keep_point(bench: Bench, point: TrainedPoint, files: Mapping[str, bytes]) -> None:
    """Keep a trained point in `points/<label>`, which other commands take as a checkpoint."""
    part = bench.shop.run.sub(f"points/{point.label}")
    store = part.checkpoints()
    store.save(point.trained.step, files)
    store.point("best", point.trained.step)
    part.write_result(point.facts | {"retrain": point.trained.facts})


def points_of(
    bench: Bench, label: str, model: Model, section: Structured, sweep: Sweep
) -> list[Point]:
    """Return all points, before training, each kept so that a resumed run has the same.

    Raises:
        SpecError: If one of whole units cannot be reached.
    """
    points: list[Point] = []
    if "structured" in sweep.methods:
        for share in sweep.macs:
            points += _cut(bench, label, model, section, sweep, share)
    if "low_rank" in sweep.methods:
        for share in sweep.macs:
            thinner = LowRank(target=Target(macs=share), retrain=section.retrain)
            make = partial(factorised, bench, model, thinner)
            points += _made(bench, label, f"{share:g}-low_rank", make)
    if "depthwise_separable" in sweep.methods:
        make = partial(separated, bench, model, DepthwiseSeparable(retrain=section.retrain))
        points += _made(bench, label, "depthwise_separable", make)
    return points


def _cut(
    bench: Bench, label: str, model: Model, section: Structured, sweep: Sweep, share: float
) -> list[Point]:
    """Return the points of whole units at one size."""
    both: tuple[Allocation, ...] = ("global", "uniform")
    ways = both if section.allocation == "auto" else (section.allocation,)
    points = []
    for criterion in sweep.criteria or (section.criterion,):
        own = section.model_copy(update={"criterion": criterion})
        seen: list[dict[str, Any]] = []
        for way in ways:
            name = f"{share:g}-{criterion.own_kind()}-{way}"
            start, found = start_of(
                bench, f"{label}-{name}", model, own, Target(macs=share), way
            )
            if found["units"] not in seen:  # both ways may keep the same units
                points.append(Point(name, start, found))
            seen.append(found["units"])
    return points


def _made(bench: Bench, label: str, name: str, make: Callable[[], Rewritten]) -> list[Point]:
    """Return the point of cheaper layers; none, and a warning, where it cannot be reached."""
    found = bench.cached(f"{label}-{name}")
    if found is None:
        try:
            found = make()
        except SpecError as error:
            bench.shop.tell.warn(f"sweep: {name} is left out: {error}")
            return []
        bench.keep(f"{label}-{name}", *found)
    return [Point(name, *found)]
