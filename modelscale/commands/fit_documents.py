"""JSON documents about laws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelscale.scaling.analysis import Analysis
    from modelscale.scaling.recommendation import Budget, Served


def analysis_json(analysis: Analysis, first_row: int = 0) -> dict[str, Any]:
    """Return a fit as data: the law, other forms, the held-out check, the outliers.

    Args:
        analysis: The fit.
        first_row: Number of the table's first row.
    """
    fit, judged = analysis.fit, analysis.judged
    rows = analysis.points.row_M[~analysis.keep_M]
    whole = analysis.whole
    return {
        "law": {
            "kind": analysis.kind,
            "inputs": list(fit.law.inputs),
            "params": {name: p._asdict() for name, p in analysis.params().items()},
            "objective": fit.objective,
            "delta": fit.delta,
            "points": len(fit.points),
            "noise": analysis.resampled.noise,
            "level": analysis.options.level,
            "resamples": len(analysis.resampled.z_BP),
            "bootstrap": analysis.resampled.scheme,
        },
        "forms": [
            {
                "kind": form.kind,
                "held_out": form.held_out,
                "objective": form.fit.objective,
                "params": form.fit.params,
            }
            for form in analysis.forms
        ],
        "held_out": None
        if judged is None
        else {
            "error": judged.error,
            "inside": judged.inside,
            "points": [
                {
                    "row": int(row) + first_row,
                    "measured": float(measured),
                    "value": float(value),
                    "low": float(low),
                    "high": float(high),
                }
                for row, measured, value, low, high in zip(
                    judged.points.row_M,
                    judged.points.loss_M,
                    judged.predicted_Q,
                    judged.low_Q,
                    judged.high_Q,
                    strict=True,
                )
            ],
        },
        "outliers": {
            "rule": analysis.options.rule.told(),
            "rows": [int(row) + first_row for row in rows],
            "params_with_them": None if whole is None else whole.params,
            "objective_with_them": None if whole is None else whole.objective,
        },
    }


def budget_json(budget: Budget) -> dict[str, Any]:
    """Return the best use of a budget as data."""
    return {
        "compute": budget.compute,
        "parameters": budget.parameters._asdict(),
        "tokens": budget.tokens._asdict(),
        "loss": budget.loss._asdict(),
        "range": {
            "within": budget.within,
            "low": budget.low._asdict(),
            "high": budget.high._asdict(),
        },
        "edge": budget.edge,
        "beyond": budget.beyond,
    }


def served_json(served: Served) -> dict[str, Any]:
    """Return the cheapest model of a quality as data."""
    return {
        "reference": {
            "parameters": served.reference_parameters,
            "tokens": served.reference_tokens,
        },
        "inference_tokens": served.inference_tokens,
        "parameters": served.parameters._asdict(),
        "tokens": served.tokens._asdict(),
        "compute": served.compute._asdict(),
        "saved": served.saved._asdict(),
    }
