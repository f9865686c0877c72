"""Reasons to doubt a fit, in words a reader can act on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelscale.scaling.recommendation import Budget, SideBySide

if TYPE_CHECKING:
    from modelscale.scaling.analysis import Analysis, Prediction

SMALL_RANGE = 10.0
FAR, TOO_FAR = 10.0, 100.0
_DISAGREE = 2.0
_FLOOR_LEAST = 0.05
_MOST_SHOWN = 5


def about_fit(analysis: Analysis, data: str = "tokens") -> list[str]:
    """Return what makes the best law doubtful, a line each; `data` is counted in that."""
    told = [
        *_ranges(analysis, data),
        *_floor(analysis),
        *_forms(analysis),
        *_outliers(analysis),
    ]
    if analysis.fit.freedom < len(analysis.fit.z_P):
        told.append(
            f"{len(analysis.fit.points)} points for {len(analysis.fit.z_P)} parameters: "
            "intervals are rough; measure more"
        )
    judged = analysis.judged
    if judged is not None and judged.inside < len(judged.points) * (
        analysis.options.level - 0.25
    ):
        told.append(
            f"only {judged.inside} of {len(judged.points)} held-out points lie inside their "
            f"{analysis.options.level:.0%} intervals"
        )
    return told


def about_prediction(prediction: Prediction) -> list[str]:
    """Return how far beyond the data a question is, if that is far."""
    return _beyond(_place(prediction), prediction.beyond)


def about_budget(budget: Budget) -> list[str]:
    """Return what makes an optimum doubtful."""
    told = _beyond(f"compute {budget.compute:.4g}", budget.beyond)
    if budget.edge:
        told.append(
            f"compute {budget.compute:.4g}: the optimum is at the edge of the search: the law, "
            "or resamples of it, has no best size there"
        )
    return told


def about_iso_flop(pairs: Sequence[SideBySide]) -> list[str]:
    """Return where reading minima and the law disagree."""
    told = []
    edges = [pair for pair in pairs if pair.minimum.edge]
    if edges:
        told.append(
            f"{len(edges)} of {len(pairs)} budgets have their lowest point at the smallest or "
            "largest size measured: their optimum lies beyond"
        )
    apart = []
    for pair in pairs:
        ratio = pair.minimum.parameters / pair.parameters.value
        if not pair.minimum.edge and not 1 / _DISAGREE <= ratio <= _DISAGREE:
            apart.append(f"{pair.minimum.compute:.3g} FLOPs: {ratio:.2g} times")
    if apart:
        more = f" and {len(apart) - _MOST_SHOWN} more" if len(apart) > _MOST_SHOWN else ""
        told.append(
            "minima and the law disagree on the best size ("
            + "; ".join(apart[:_MOST_SHOWN])
            + f"{more})"
        )
    return told


def too_far(predictions: Sequence[Prediction], budgets: Sequence[Budget]) -> list[str]:
    """Return the questions that lie too far beyond the data to be answered, a line each."""
    at = [(_place(one), one.beyond) for one in predictions]
    at += [(f"compute {one.compute:.4g}", one.beyond) for one in budgets]
    return [
        f"{what} is {times:.3g} times beyond the data, more than {TOO_FAR:g}: measure larger "
        "runs, or --force an answer"
        for what, times in at
        if times > TOO_FAR
    ]


def _place(prediction: Prediction) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in prediction.inputs.items())


def _beyond(what: str, times: float) -> list[str]:
    if times > TOO_FAR:
        return [
            f"{what} is {times:.3g} times beyond the data: not to be relied on; "
            "measure larger runs"
        ]
    if times > FAR:
        return [f"{what} is {times:.3g} times beyond the data: a bold extrapolation"]
    return []


def _ranges(analysis: Analysis, data: str) -> list[str]:
    told = []
    for name in analysis.fit.law.inputs:
        values = analysis.fit.points.inputs[name]
        spread = float(values.max() / values.min())
        if spread < SMALL_RANGE:
            verb = f"{data} span" if name == "tokens" else f"{name} spans"
            told.append(
                f"{verb} only a factor of {spread:.3g}; a law needs at least "
                f"{SMALL_RANGE:g}, better 100"
            )
    return told


def _floor(analysis: Analysis) -> list[str]:
    name = analysis.fit.law.floor
    if name is None:
        return []
    floor = analysis.params()[name]
    least = float(analysis.fit.points.loss_M.min())
    told = []
    if floor.high >= least:
        told.append(
            f"the interval of the floor {name} [{floor.low:.4g}, {floor.high:.4g}] touches the "
            f"lowest loss {least:.4g}: the data hardly show more gains"
        )
    if floor.low < _FLOOR_LEAST * floor.value or floor.value < 1e-3 * least:
        told.append(f"the floor {name} is not determined: it may be zero")
    return told


def _forms(analysis: Analysis) -> list[str]:
    best, *others = analysis.forms
    told = []
    if best.held_out != best.held_out:  # NaN
        told.append("too few points to hold any out: the choice of the law is not tested")
    elif others and others[0].held_out <= 1.1 * best.held_out:
        told.append(
            f"{others[0].kind} foretells the held-out top as well as {best.kind} "
            f"({others[0].held_out:.3g} against {best.held_out:.3g}): the form is not settled"
        )
    return told


def _outliers(analysis: Analysis) -> list[str]:
    if analysis.keep_M.all() or analysis.whole is None:
        return []
    changed = []
    for name, interval in analysis.params().items():
        value = analysis.whole.params[name]
        if not interval.low <= value <= interval.high:
            changed.append(f"{name} {interval.value:.4g} → {value:.4g}")
    if not changed:
        return []
    left = int((~analysis.keep_M).sum())
    return [f"{left} outliers decide: with them {', '.join(changed)}"]
