"""The law of a ladder: fitted to the lower rungs, tested on the top one, then to all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from modelscale.commands.scale_results import Outcome, loss_of

if TYPE_CHECKING:
    from modelscale.scaling.analysis import Analysis, Options
    from modelscale.scaling.bootstrap import Interval
    from modelscale.scaling.laws.base import LawSpec
    from modelscale.scaling.points import Points
    from modelscale.scaling.section import ScaleSection
    from modelscale.tensors import Task

_SPLIT = ("parameters", "tokens")


@dataclass(frozen=True)
class Tested:
    """A rung that the tested fit has not seen.

    Attributes:
        size: Place of its size.
        data: Place of its amount of data.
        inputs: Parameters and tokens.
        compute: FLOPs.
        times: Its compute over that of the largest fitted rung.
        measured: Loss of each seed.
        predicted: With the interval of a measurement.
        top: Whether it is the top rung.
    """

    size: int
    data: int
    inputs: dict[str, float]
    compute: float
    times: float
    measured: tuple[float, ...]
    predicted: Interval
    top: bool

    @property
    def mean(self) -> float:
        """Mean loss over seeds."""
        return fmean(self.measured)

    @property
    def inside(self) -> bool:
        """Whether the mean lies inside the interval."""
        return self.predicted.low <= self.mean <= self.predicted.high

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted.value / self.mean - 1

    def to_json(self) -> dict[str, Any]:
        """Return it as data."""
        seeds = [self.predicted.low <= one <= self.predicted.high for one in self.measured]
        return {
            "size": self.size,
            "data": self.data,
            **self.inputs,
            "compute": self.compute,
            "times_fitted_compute": self.times,
            "measured": self.mean,
            "seeds": list(self.measured),
            "value": self.predicted.value,
            "low": self.predicted.low,
            "high": self.predicted.high,
            "inside": self.inside,
            "seeds_inside": sum(seeds),
            "error": self.error,
            "top": self.top,
        }


@dataclass(frozen=True)
class Law:
    """What a ladder says.

    Attributes:
        along: Input of a one-dimensional law; None where sizes and data vary.
        checked: The fit that has not seen the top; None where there is none.
        tested: The rungs that it has not seen, the top one last.
        whole: The fit to all rungs, from which recommendations come; None without a law.
        used: Rungs with a loss that a law can be fitted to.
        warnings: Reasons for doubt.
    """

    along: str | None
    checked: Analysis | None
    tested: tuple[Tested, ...]
    whole: Analysis | None
    used: tuple[Outcome, ...]
    warnings: tuple[str, ...]

    @property
    def shown(self) -> Analysis | None:
        """The fit that is called the law: the tested one if there is one."""
        return self.checked or self.whole

    @property
    def top(self) -> Tested | None:
        """The top rung's test."""
        return next((tested for tested in self.tested if tested.top), None)


def law_of(outcomes: Sequence[Outcome], section: ScaleSection, task: Task, seed: int) -> Law:
    """Return the law of measured rungs.

    Args:
        outcomes: With a loss above 0 each.
        section: What was asked for.
        task: Of the experiment.
        seed: Of the resampling.
    """
    from modelscale.scaling import cautions
    from modelscale.scaling.analysis import Options, analyse

    options = Options(level=section.level, seed=seed)
    along = axis_of(outcomes)
    points = points_of(outcomes, section.metric, task, along)
    laws = candidates(section.law, along, bounded=bool((points.loss_M < 1).all()))
    told: list[str] = []
    if not laws:
        told.append(f"{section.law} is no law of {along or 'parameters and tokens'}: no fit")
        return Law(along, None, (), None, tuple(outcomes), tuple(told))
    checked: Analysis | None = None
    tested: tuple[Tested, ...] = ()
    if section.held_out == "top":
        try:
            checked, tested = _test(outcomes, points, laws, options, section, task, along)
        except ValueError as error:
            told.append(f"nothing is held out: below the top rung {error}")
    try:
        whole = analyse(points, laws, options)
        told += cautions.about_fit(whole, units_word(task))
    except ValueError as error:
        whole = None
        told.append(str(error))
    top = next((one for one in tested if one.top), None)
    if top is not None and not top.inside:
        told.append(
            f"the held-out rung's loss {top.mean:.4g} is outside its {section.level:.0%} "
            f"interval [{top.predicted.low:.4g}, {top.predicted.high:.4g}]: do not rely on "
            "extrapolations"
        )
    return Law(along, checked, tested, whole, tuple(outcomes), tuple(dict.fromkeys(told)))


def units_word(task: Task) -> str:
    """Return in what a ladder counts data: tokens of a language model, else examples."""
    return "tokens" if task == "language_model" else "examples"


def axis_of(outcomes: Sequence[Outcome]) -> str | None:
    """Return the one input that varies, None where sizes and data both do."""
    sizes = {o.rung.size.parameters for o in outcomes}
    amounts = {o.rung.units for o in outcomes}
    if len(sizes) > 1 and len(amounts) > 1:
        return None
    return "parameters" if len(sizes) > 1 else "tokens"


def points_of(
    outcomes: Sequence[Outcome], metric: str, task: Task, along: str | None
) -> Points:
    """Return rungs as points; seeds of one rung share the law's misfit there: a group."""
    import numpy as np

    from modelscale.scaling.points import points

    rungs = [outcome.rung for outcome in outcomes]
    inputs = {
        "parameters": np.array([rung.size.parameters for rung in rungs], dtype=float),
        "tokens": np.array([rung.units for rung in rungs], dtype=float),
        "compute": np.array([rung.compute for rung in rungs], dtype=float),
    }
    if along is not None:
        inputs["size"] = inputs[along]
    loss = np.array([loss_of(outcome, metric, task) for outcome in outcomes])
    places = sorted({rung.point for rung in rungs})
    group = np.array([places.index(rung.point) for rung in rungs])
    return points(inputs, loss, group_M=group)


def candidates(law: str, along: str | None, *, bounded: bool) -> dict[str, LawSpec]:
    """Return the laws that may be fitted, by kind.

    Args:
        law: A kind, or "auto".
        along: The one input that varies, if only one does.
        bounded: Whether all losses are below 1, as shares are.
    """
    from modelscale.scaling.laws.base import LawSpec

    kinds = LawSpec.kinds() if law == "auto" else [law]
    specs = {kind: LawSpec.of_kind(kind).model_validate({}) for kind in kinds}
    wanted = ("size",) if along is not None else _SPLIT
    found = {kind: spec for kind, spec in specs.items() if spec.inputs == wanted}
    return {k: s for k, s in found.items() if bounded or not s.bounded}


def inputs_at(law: LawSpec, along: str | None, known: dict[str, float]) -> dict[str, float]:
    """Return the inputs of a law from parameters and tokens."""
    given = known if along is None else {**known, "size": known[along]}
    return {name: given[name] for name in law.inputs}


def _test(
    outcomes: Sequence[Outcome],
    points: Points,
    laws: dict[str, LawSpec],
    options: Options,
    section: ScaleSection,
    task: Task,
    along: str | None,
) -> tuple[Analysis, tuple[Tested, ...]]:
    """Return a fit to the rungs well below the top, and what it says of the others.

    Raises:
        ValueError: If too few rungs are below.
    """
    from modelscale.scaling.analysis import analyse, predict

    compute = points.inputs["compute"]
    keep = compute * section.gap <= compute.max() * (1 + 1e-9)
    if not keep.any():
        raise ValueError("there is none")
    analysis = analyse(points.only(keep), laws, options)
    largest = float(compute[keep].max())
    law, tested = analysis.fit.law, []
    places = sorted({(o.rung.compute, o.rung.point) for o in outcomes})
    for cost, place in places:
        if cost * section.gap <= compute.max() * (1 + 1e-9):
            continue
        own = [o for o in outcomes if o.rung.point == place]
        rung = own[0].rung
        known = {"parameters": float(rung.size.parameters), "tokens": float(rung.units)}
        predicted = predict(analysis, inputs_at(law, along, known)).whole
        tested.append(
            Tested(
                *place,
                known,
                float(cost),
                cost / largest,
                tuple(loss_of(outcome, section.metric, task) for outcome in own),
                predicted,
                (cost, place) == places[-1],
            )
        )
    return analysis, tuple(tested)
