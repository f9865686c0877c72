"""What to train next, by a ladder's law: sizes, budgets, returns, and a spec."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscale.commands.experiment import Experiment
from modelscale.commands.scale_ladder import RATE, Ladder, Size, training_flops
from modelscale.commands.scale_law import Law, inputs_at
from modelscale.spec.paths import apply

if TYPE_CHECKING:
    from modelscale.commands.scale_rates import RateRule
    from modelscale.scaling.analysis import Analysis
    from modelscale.scaling.bootstrap import Interval

NEARLY = 0.01
"""A size whose expected loss is within this part of the best one's is as good."""
FACTORS = (0.25, 1.0, 4.0, 16.0)
"""Budgets of the frontier, as multiples of the top rung's compute."""
_AFFORDABLE = 4.0 * (1 + 1e-2)  # times the top rung's compute, sizes being whole numbers
_TARGET = 10.0  # times the top rung's compute: the prediction that the next run is to sharpen


@dataclass(frozen=True)
class Option:
    """A size with all data there is.

    Attributes:
        size: Which.
        compute: FLOPs of its training.
        expected: Loss with the interval of a measurement.
        trained: Whether the ladder holds it.
    """

    size: Size
    compute: int
    expected: Interval
    trained: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as data."""
        return {
            "size": self.size.index,
            "changes": self.size.changes,
            "parameters": self.size.parameters,
            "compute": self.compute,
            "expected": self.expected._asdict(),
            "trained": self.trained,
        }


@dataclass(frozen=True)
class Advice:
    """What follows from a law.

    Attributes:
        options: Sizes with all data, those beyond the ladder included.
        chosen: The smallest that is nearly as good as the best, of those that cost at most four
            times the top rung.
        spec: It as an experiment, ready for `train`.
        document: All as data.
        warnings: Reasons for doubt.
    """

    options: tuple[Option, ...]
    chosen: Option
    spec: Experiment
    document: dict[str, Any]
    warnings: tuple[str, ...]


def advice_of(ladder: Ladder, law: Law, rule: RateRule | None) -> Advice | None:
    """Return what to train next; None without a law."""
    from modelscale.scaling import cautions
    from modelscale.scaling.analysis import predict
    from modelscale.scaling.recommendation import frontier, has_optimum, iso_flop

    analysis = law.whole
    if analysis is None:
        return None
    top = max(ladder.rungs, key=lambda rung: rung.compute)
    options = []
    for size in (*ladder.sizes, *ladder.beyond):
        known = {"parameters": float(size.parameters), "tokens": float(top.units)}
        found = predict(analysis, inputs_at(analysis.fit.law, law.along, known))
        cost = training_flops(size.macs, top.examples)
        trained = size.index < len(ladder.sizes)
        options.append(Option(size, cost, found.whole, trained))
    near = [option for option in options if option.compute <= top.compute * _AFFORDABLE]
    best = min(option.expected.value for option in near)
    chosen = next(o for o in near if o.expected.value <= best * (1 + NEARLY))
    warnings: list[str] = []
    budgets, told_budgets, iso = [], [], []
    if has_optimum(analysis):
        # A law of N and D counts 6 N D; networks cost what their modules say. The ratio is
        # that of the rungs, so that budgets here are FLOPs as they are counted.
        ratio = _flops_ratio(analysis)
        budgets = frontier(analysis, [top.compute * factor / ratio for factor in FACTORS])
        for factor, budget in zip(FACTORS, budgets, strict=True):
            warnings += cautions.about_budget(budget) if factor == 1 else []
            if not budget.edge:  # else it would be the edge of the search that is told
                told_budgets.append(_budget(budget, top.compute * factor))
        iso = iso_flop(analysis)
    document = {
        "sizes": [option.to_json() for option in options],
        "chosen": chosen.to_json(),
        "within": NEARLY,
        "tokens": top.units,
        "frontier": told_budgets,
        "iso_flop": [
            {
                "compute": pair.minimum.compute,
                "minimum_parameters": pair.minimum.parameters,
                "law_parameters": pair.parameters._asdict(),
            }
            for pair in iso
        ],
        "returns": _returns(analysis, law, top.size.parameters, top.units),
        "next_run": _next(analysis, law, ladder, top.compute),
        "spec": "recommended.yaml",
    }
    return Advice(
        tuple(options), chosen, _spec(chosen, ladder, rule), document, tuple(warnings)
    )


def _flops_ratio(analysis: Analysis) -> float:
    import numpy as np

    inputs = analysis.points.inputs
    plain = 6 * inputs["parameters"] * inputs["tokens"]
    return float(np.exp(np.mean(np.log(inputs["compute"] / plain))))


def _budget(budget: Any, compute: float) -> dict[str, Any]:
    from modelscale.commands.fit_documents import budget_json

    return budget_json(budget) | {"compute": compute}


def _returns(
    analysis: Analysis, law: Law, parameters: float, tokens: float
) -> list[dict[str, Any]]:
    """Return what twice as much would buy at the top rung."""
    from modelscale.scaling.recommendation import has_optimum, returns

    if has_optimum(analysis):
        return [
            {"what": r.what, "factor": r.factor, "before": r.before, "gain": r.gain._asdict()}
            for r in returns(analysis, parameters, tokens)
        ]
    import numpy as np

    assert law.along is not None
    here = {"parameters": parameters, "tokens": tokens}[law.along]
    at = {"size": np.array([here, 2 * here])}
    now, then = analysis.fit.predict(at)
    draws_B2 = analysis.resampled.predict(at)
    gain = analysis.resampled.interval(
        float(now - then), draws_B2[:, 0] - draws_B2[:, 1], analysis.options.level
    )
    return [{"what": law.along, "factor": 2.0, "before": now, "gain": gain._asdict()}]


def _next(
    analysis: Analysis, law: Law, ladder: Ladder, top_compute: int
) -> dict[str, Any] | None:
    """Return the affordable run that would sharpen the law most, beyond what is measured.

    The target is the compute-optimal model of ten times the top rung's compute, or ten times
    its size where the law has one input. Candidates are all sizes, two beyond the ladder
    included, with each amount of data, of at most four times the top rung's compute.
    """
    from modelscale.scaling.recommendation import has_optimum, next_run, spend

    top = max(ladder.rungs, key=lambda rung: rung.compute)
    if has_optimum(analysis):
        best = spend(analysis, _TARGET * top_compute / _flops_ratio(analysis))
        target = {"parameters": best.parameters.value, "tokens": best.tokens.value}
    else:
        assert law.along is not None
        one = {"parameters": float(top.size.parameters), "tokens": float(top.units)}
        target = {**one, law.along: _TARGET * one[law.along]}
    amounts = {rung.units: rung for rung in ladder.rungs}
    runs = [
        (size, rung, training_flops(size.macs, rung.examples))
        for size in (*ladder.sizes, *ladder.beyond)
        for rung in amounts.values()
    ]
    runs = [run for run in runs if run[2] <= _AFFORDABLE * top_compute]
    kind = analysis.fit.law
    places: list[dict[str, float]] = [
        inputs_at(
            kind, law.along, {"parameters": float(s.parameters), "tokens": float(r.units)}
        )
        for s, r, _ in runs
    ]
    found = next_run(analysis, inputs_at(kind, law.along, target), places)
    if found is None or not math.isfinite(found.sd_after):
        return None
    size, rung, cost = runs[places.index(found.inputs)]
    return {
        "changes": size.changes,
        "parameters": size.parameters,
        "fraction": rung.fraction,
        "tokens": rung.units,
        "compute": cost,
        "seconds": cost * _seconds_a_flop(law),
        "target": target,
        "sd_before": found.sd_before,
        "sd_after": found.sd_after,
    }


def _seconds_a_flop(law: Law) -> float:
    """Return how long the largest rung took for a FLOP: small ones are mostly overhead."""
    top = max(law.used, key=lambda outcome: outcome.rung.compute)
    return top.seconds / top.rung.compute


def _spec(chosen: Option, ladder: Ladder, rule: RateRule | None) -> Experiment:
    """Return the chosen size as an experiment of its own, with its learning rate."""
    variant = chosen.size.variant
    if rule is not None:
        variant = apply(variant, {RATE: rule.at(chosen.size.parameters)})
    plan = variant.train.model_copy(update={"seeds": ladder.section.seeds})
    return variant.model_copy(update={"train": plan, "name": None})
