"""What to train next: the best use of a budget, what more would buy, what to measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from modelscale.scaling.analysis import Analysis, predict
from modelscale.scaling.bootstrap import Interval
from modelscale.scaling.isoflop import Minimum, minima
from modelscale.scaling.measurement import credible
from modelscale.scaling.optimum import (
    NEARLY,
    allocate,
    loss_at,
    nearly_optimal,
    serve,
    tokens_for,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def has_optimum(analysis: Analysis) -> bool:
    """Return whether the best law knows parameters and tokens, so that a budget has a split."""
    return {"parameters", "tokens"} <= set(analysis.fit.law.inputs)


class Budget(NamedTuple):
    """How to spend a budget.

    Attributes:
        compute: The budget, FLOPs.
        parameters: Best size.
        tokens: Best amount of data.
        loss: What is to be expected there.
        low: Smallest size that is nearly as good.
        high: Largest such size.
        within: What nearly means: the part by which the loss may be higher.
        edge: Whether the law has no optimum within sight.
        beyond: How many times beyond the data the answer lies.
    """

    compute: float
    parameters: Interval
    tokens: Interval
    loss: Interval
    low: Interval
    high: Interval
    within: float
    edge: bool
    beyond: float


def spend(analysis: Analysis, compute: float) -> Budget:
    """Return the compute-optimal model for a budget, with bands.

    Args:
        analysis: Whose best law has parameters and tokens.
        compute: FLOPs.
    """
    frame, draws = analysis.fit.frame, analysis.resampled
    z, level = analysis.fit.z_P[None], analysis.options.level
    best, bands = allocate(frame, z, compute), allocate(frame, draws.z_BP, compute)
    flat = nearly_optimal(frame, z, compute, best)
    flats = nearly_optimal(frame, draws.z_BP, compute, bands)
    size, tokens = float(best.parameters_B[0]), float(best.tokens_B[0])
    expected = predict(analysis, _inputs(analysis, size, tokens))

    def band(value: float, draws_B: Array) -> Interval:
        return draws.interval(value, draws_B, level)

    others = [
        allocate(form.fit.frame, form.fit.z_P[None], compute)
        for form in credible(analysis.forms[1:], analysis.forms[0].held_out, draws.noise)
        if {"parameters", "tokens"} <= set(form.fit.law.inputs)
    ]
    sizes = [float(other.parameters_B[0]) for other in others if not other.edge_B[0]]
    return Budget(
        compute,
        _widened(band(size, bands.parameters_B), sizes),
        _widened(band(tokens, bands.tokens_B), [compute / (6 * n) for n in sizes]),
        expected.whole,
        band(float(flat.low_B[0]), flats.low_B),
        band(float(flat.high_B[0]), flats.high_B),
        NEARLY,
        bool(best.edge_B[0]) or bool(bands.edge_B.mean() > 1 - level),
        expected.beyond,
    )


class Served(NamedTuple):
    """The cheapest model as good as a reference, training and inference together.

    Attributes:
        reference_parameters: Size of the reference.
        reference_tokens: What it was trained on.
        inference_tokens: Tokens to be served.
        parameters: Best size.
        tokens: What to train it on.
        compute: FLOPs of training and inference together.
        saved: Part of the reference's FLOPs that is saved.
    """

    reference_parameters: float
    reference_tokens: float
    inference_tokens: float
    parameters: Interval
    tokens: Interval
    compute: Interval
    saved: Interval


def serve_cheaply(
    analysis: Analysis, parameters: float, tokens: float | None, inference: float
) -> Served:
    """Return the model that matches a reference at the least cost over its life.

    Args:
        analysis: Whose best law has parameters and tokens.
        parameters: The reference's size.
        tokens: Its training tokens; None for as many as its size is optimal for.
        inference: Tokens that will be served.
    """
    frame, draws = analysis.fit.frame, analysis.resampled
    z, level = analysis.fit.z_P[None], analysis.options.level
    if tokens is None:
        tokens = float(tokens_for(frame, z, parameters)[0])
    best = serve(frame, z, parameters, tokens, inference)
    bands = serve(frame, draws.z_BP, parameters, tokens, inference)

    def band(one: Array, many: Array) -> Interval:
        return draws.interval(float(one[0]), many, level)

    return Served(
        parameters,
        tokens,
        inference,
        band(best.parameters_B, bands.parameters_B),
        band(best.tokens_B, bands.tokens_B),
        band(best.total_B, bands.total_B),
        band(best.saved_B, bands.saved_B),
    )


def _widened(interval: Interval, values: Sequence[float]) -> Interval:
    """Return an interval that also holds what other credible forms say."""
    low, high = min([interval.low, *values]), max([interval.high, *values])
    return Interval(interval.value, low, high)


def frontier(analysis: Analysis, budgets: Sequence[float]) -> list[Budget]:
    """Return the best models N*(C), D*(C) of several budgets."""
    return [spend(analysis, compute) for compute in budgets]


class Return(NamedTuple):
    """What more of something would buy.

    Attributes:
        what: "parameters", "tokens" or "compute".
        factor: How many times as much.
        before: The loss now.
        gain: By how much the loss falls, in its unit.
    """

    what: str
    factor: float
    before: float
    gain: Interval


def returns(
    analysis: Analysis, parameters: float, tokens: float, factor: float = 2.0
) -> list[Return]:
    """Return what more parameters, more data and more compute (both by its root) would buy."""
    import numpy as np

    frame, draws = analysis.fit.frame, analysis.resampled
    level = analysis.options.level
    root = float(np.sqrt(factor))
    grown = {
        "parameters": (parameters * factor, tokens),
        "tokens": (parameters, tokens * factor),
        "compute": (parameters * root, tokens * root),
    }

    def losses(z_BP: Array, size: float, seen: float) -> Array:
        shape = (len(z_BP), 1)
        return loss_at(frame, z_BP, np.full(shape, size), np.full(shape, seen))[:, 0]

    z = analysis.fit.z_P[None]
    now, now_B = losses(z, parameters, tokens), losses(draws.z_BP, parameters, tokens)
    found = []
    for what, (size, seen) in grown.items():
        gain = float((now - losses(z, size, seen))[0])
        interval = draws.interval(gain, now_B - losses(draws.z_BP, size, seen), level)
        found.append(Return(what, factor, float(now[0]), interval))
    return found


class NextRun(NamedTuple):
    """The run that would teach most about a target.

    Attributes:
        inputs: Its size and data.
        compute: What it costs, FLOPs.
        sd_before: Standard deviation of the target's log loss now.
        sd_after: What it would be with this run measured.
    """

    inputs: dict[str, float]
    compute: float
    sd_before: float
    sd_after: float


def next_run(
    analysis: Analysis, target: dict[str, float], candidates: Sequence[dict[str, float]]
) -> NextRun | None:
    """Return the candidate run that narrows the prediction at a target most.

    By the linear update of a Gaussian: a run whose prediction, over resamples, varies together
    with the target's would pin it down.

    Args:
        analysis: Of the measured points.
        target: Inputs of the prediction that matters.
        candidates: Inputs of the runs that are affordable.
    """
    import numpy as np

    if not candidates:
        return None
    draws = analysis.resampled

    def logs(at: Sequence[dict[str, float]]) -> Array:
        columns = {n: np.array([one[n] for one in at]) for n in analysis.fit.law.inputs}
        with np.errstate(all="ignore"):
            found: Array = np.log(draws.predict(columns))
        return found

    goal, runs = logs([target])[:, 0], logs(candidates)
    fine = np.isfinite(goal) & np.isfinite(runs).all(1)
    goal, runs = goal[fine] - goal[fine].mean(), runs[fine] - runs[fine].mean(0)
    before = float(np.mean(goal**2))
    shared = (runs * goal[:, None]).mean(0)
    after = before - shared**2 / (np.mean(runs**2, axis=0) + draws.noise**2 + 1e-30)
    best = int(np.argmin(after))
    chosen = dict(candidates[best])
    cost = (
        6 * chosen["parameters"] * chosen["tokens"] if has_optimum(analysis) else float("nan")
    )
    return NextRun(chosen, cost, before**0.5, max(float(after[best]), 0.0) ** 0.5)


class SideBySide(NamedTuple):
    """An optimum read off a budget's points, and the law's optimum of the same budget."""

    minimum: Minimum
    parameters: Interval
    loss: float


def iso_flop(analysis: Analysis) -> list[SideBySide]:
    """Return the optima of all measured budgets, by minima and by the law."""
    if not has_optimum(analysis):
        return []
    found = []
    frame, draws = analysis.fit.frame, analysis.resampled
    for low in minima(analysis.points.only(analysis.keep_M)):
        best = allocate(frame, analysis.fit.z_P[None], low.compute)
        bands = allocate(frame, draws.z_BP, low.compute)
        size = float(best.parameters_B[0])
        band = draws.interval(size, bands.parameters_B, analysis.options.level)
        found.append(SideBySide(low, band, float(best.loss_B[0])))
    return found


def _inputs(analysis: Analysis, parameters: float, tokens: float) -> dict[str, float]:
    known = {"parameters": parameters, "tokens": tokens, "unique_tokens": tokens}
    return {name: known[name] for name in analysis.fit.law.inputs}
