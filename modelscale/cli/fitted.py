"""How fitted laws read on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.report import numbers
from modelscale.spec.docstrings import first_line

if TYPE_CHECKING:
    from modelscale.cli.console import Console
    from modelscale.commands.fit import Fitted
    from modelscale.commands.fit_curves import FittedCurves
    from modelscale.scaling.bootstrap import Interval

_MOST_ISO = 12


def show_fit(found: Fitted, console: Console) -> None:
    """Print the law, its rivals, the outliers' effect and the answers."""
    _show_law(found, console)
    _show_forms(found, console)
    _show_answers(found, console)


def show_curves(found: FittedCurves, console: Console) -> None:
    """Print each curve and how well it was foretold, where that is known."""
    rows = []
    for curve in found.curves:
        known = int((curve.measured_Q == curve.measured_Q).sum())
        rows.append(
            (
                "/".join(curve.key.values()) or "curve",
                str(curve.fitted),
                str(len(curve.rows)),
                f"{curve.x_Q.max():.4g}",
                f"{curve.loss_Q[curve.x_Q.argmax()]:.4g}",
                f"{curve.rmsle:.4f}" if known else "–",
                f"{curve.inside}/{known}" if known else "–",
            )
        )
    columns = ("curve", "fitted", "predicted", "at most", "loss there", "RMSLE", "inside")
    console.table(columns, rows)
    if found.rmsle == found.rmsle:
        console.data(f"mean RMSLE {found.rmsle:.4f}")


def _show_law(found: Fitted, console: Console) -> None:
    analysis = found.analysis
    fit, level = analysis.fit, analysis.options.level
    formula = first_line(type(fit.law).__doc__).partition(":")[0].rstrip(".")
    console.data(f"law: {analysis.kind}: {formula}")
    if found.along is not None:
        console.data(f"x: {found.along}")
    whole = analysis.whole
    left = int((~analysis.keep_M).sum())
    with_all = left > 0 and whole is not None
    rows = []
    for name, p in analysis.params().items():
        row = [name, numbers.parameter(p.value, 6), f"{p.low:.6g}", f"{p.high:.6g}"]
        if with_all and whole is not None:
            row.append(numbers.parameter(whole.params[name], 6))
        rows.append(row)
    more = ["with outliers"] if with_all else []
    console.table(["parameter", "value", f"low {level:.0%}", f"high {level:.0%}", *more], rows)
    console.data(
        f"{len(fit.points)} points, objective {fit.objective:.8g} (Huber in log loss, "
        f"delta {fit.delta:.3g}), noise {analysis.resampled.noise:.3%}"
    )
    console.data(f"outliers: {analysis.options.rule.told()}: {left} left out{_rows(found)}")


def _rows(found: Fitted) -> str:
    analysis = found.analysis
    rows = analysis.points.row_M[~analysis.keep_M]
    if not len(rows):
        return ""
    return f" (rows {', '.join(str(int(r) + found.table.first_row) for r in rows)})"


def _show_forms(found: Fitted, console: Console) -> None:
    analysis = found.analysis
    console.data("")
    rows = [
        (form.kind, _error(form.held_out), f"{form.fit.objective:.4g}")
        for form in analysis.forms
    ]
    console.table(("form", "held-out error", "objective"), rows)
    judged = analysis.judged
    if judged is not None:
        console.data(
            f"held out: the largest {len(judged.points)} points, fitted without them: error "
            f"{judged.error:.2%}, {judged.inside} inside their intervals"
        )


def _error(value: float) -> str:
    return f"{value:.3%}" if value == value else "–"


def _show_answers(found: Fitted, console: Console) -> None:
    for prediction in found.predictions:
        inputs = prediction.inputs.items()
        names = {"size": found.along or "size"}
        at = ", ".join(f"{names.get(n, n)} {v:.4g}" for n, v in inputs)
        console.data(f"at {at}: loss {_told(prediction.whole)}")
    for budget in found.budgets:
        console.data(
            f"compute {budget.compute:.4g}: parameters {_told(budget.parameters)}, tokens "
            f"{_told(budget.tokens)}, loss {_told(budget.loss)}; within {budget.within:.1%} of "
            f"the least loss: {budget.low.value:.3g} to {budget.high.value:.3g} parameters"
        )
    served = found.served
    if served is not None:
        console.data(
            f"as good as {served.reference_parameters:.3g} parameters on "
            f"{served.reference_tokens:.3g} tokens, with {served.inference_tokens:.3g} tokens "
            f"served: parameters {_told(served.parameters)}, tokens {_told(served.tokens)}, "
            f"saves {served.saved.value:.1%} of the FLOPs"
        )
    for gain in found.returns:
        console.data(
            f"{gain.factor:g} times the {gain.what}: lowers the loss by {_told(gain.gain)}"
        )
    if found.iso:
        console.data("")
        rows = [
            (
                f"{pair.minimum.compute:.3g}",
                f"{pair.minimum.parameters:.3g}" + (" (edge)" if pair.minimum.edge else ""),
                _told(pair.parameters),
            )
            for pair in found.iso[:_MOST_ISO]
        ]
        console.table(("budget", "best size by minima", "by the law"), rows)


def _told(interval: Interval) -> str:
    return f"{interval.value:.4g} [{interval.low:.4g}, {interval.high:.4g}]"
