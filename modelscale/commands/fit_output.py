"""Files that `fit` writes when asked: the law as JSON, a page, a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.commands.fit_curves import FittedCurves
from modelscale.errors import CannotCreate, UsageError
from modelscale.runs import atomic

if TYPE_CHECKING:
    import numpy as np

    from modelscale.commands.fit import Fitted
    from modelscale.report.charts import Curves, Series
    from modelscale.report.content import Page

_LINE_POINTS = 80
_AHEAD = 10.0  # how far beyond the data the law is drawn
_MOST_CURVES = 12
_MOST_LINES = 6


def check_outputs(outputs: Sequence[Path], *, curves: bool, force: bool) -> None:
    """Refuse outputs that cannot be written, before any work is done.

    Raises:
        UsageError: If a name says no format.
        CannotCreate: If there is such a file already.
    """
    kinds = {".json", ".html"} if curves else {".json", ".html", ".svg"}
    for path in outputs:
        if path.suffix.lower() not in kinds:
            raise UsageError(f"--output {path}: expected {', '.join(sorted(kinds))}")
        if path.is_dir() or (path.exists() and not force):
            hint = "" if path.is_dir() else "; --force overwrites it"
            raise CannotCreate(f"{path}: exists already{hint}")


def write_outputs(found: Fitted | FittedCurves, outputs: Sequence[Path]) -> None:
    """Write what was found, each file whole or not at all.

    Raises:
        Unavailable: If a page or plot is asked for and matplotlib is not installed.
        CannotCreate: If a file cannot be created.
        StorageError: If the disk is full or broken.
    """
    for path in outputs:
        if path.suffix.lower() == ".json":
            atomic.write_json(path, {"schema_version": 1, **found.to_json()})
            continue
        from modelscale.report.page import render

        page = _curves_page(found) if isinstance(found, FittedCurves) else _page(found)
        rendered = render(page)
        if path.suffix.lower() == ".svg":
            atomic.write_file(path, next(iter(rendered.plots.values())))
        else:
            atomic.write_file(path, rendered.html.encode("utf-8", "backslashreplace"))


def _page(found: Fitted) -> Page:
    from modelscale.report.content import Estimate, Page, Section, Table

    analysis = found.analysis
    params = tuple(
        (name, Estimate(p.value, p.low, p.high)) for name, p in analysis.params().items()
    )
    forms = tuple((form.kind, form.held_out) for form in analysis.forms)
    return Page(
        title=f"Scaling law of {found.table.path.name}",
        subtitle=f"{analysis.kind}, {len(analysis.fit.points)} points",
        sections=(
            Section(
                "The law",
                (
                    _plot(found),
                    Table(("parameter", f"{analysis.options.level:.0%} interval"), params),
                    Table(("form", "held-out error"), forms),
                ),
            ),
        ),
        warnings=found.warnings,
        generated_from=(str(found.table.path),),
    )


def _plot(found: Fitted) -> Curves:
    """Return points and law: along the one size, or along compute for each model size."""
    from modelscale.report.charts import Curves, Series

    analysis = found.analysis
    kept = analysis.points.only(analysis.keep_M)
    if found.along is not None or "compute" not in kept.inputs:
        name = found.along or "size"
        x = kept.inputs["size"]
        series = [
            Series("measured", tuple(x.tolist()), tuple(kept.loss_M.tolist())),
            _law_line(found, "law", {"size": _line(x)}, "size"),
        ]
    else:
        import numpy as np

        name = "compute"
        sizes = np.unique(kept.inputs["parameters"])
        chosen = sizes[np.unique(np.linspace(0, len(sizes) - 1, _MOST_LINES).astype(int))]
        x, y = kept.inputs["compute"], kept.loss_M
        order = np.argsort(x)
        series = [Series("measured", tuple(x[order].tolist()), tuple(y[order].tolist()))]
        for size in chosen:
            budget = _line(x)
            tokens = budget / (6 * size)
            given = {
                "parameters": np.full(len(budget), size),
                "tokens": tokens,
                "unique_tokens": tokens,
                "compute": budget,
            }
            series.append(_law_line(found, f"{size:.3g} parameters", given, "compute"))
    return Curves(
        "Loss and law", tuple(series), x_label=name, y_label="loss", log_x=True, log_y=True
    )


def _line(x_M: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.geomspace(x_M.min(), _AHEAD * x_M.max(), _LINE_POINTS)


def _law_line(found: Fitted, name: str, inputs: dict[str, np.ndarray], x: str) -> Series:
    """Return the law along inputs with the band of its resamples."""
    import numpy as np

    from modelscale.report.charts import Series

    analysis = found.analysis
    value = analysis.fit.predict(inputs)
    tail = (1 - analysis.options.level) / 2
    low, high = np.nanquantile(analysis.resampled.predict(inputs), [tail, 1 - tail], axis=0)
    return Series(
        name,
        tuple(inputs[x].tolist()),
        tuple(value.tolist()),
        tuple(low.tolist()),
        tuple(high.tolist()),
    )


def _curves_page(found: FittedCurves) -> Page:
    import numpy as np

    from modelscale.report.charts import Curves, Series
    from modelscale.report.content import Page, Section

    plots = []
    for curve in found.curves[:_MOST_CURVES]:
        order = np.argsort(curve.x_Q)
        x = tuple(curve.x_Q[order].tolist())
        columns = (curve.loss_Q, curve.low_Q, curve.high_Q, curve.measured_Q)
        value, low, high, truth = (tuple(c[order].tolist()) for c in columns)
        series = (Series("predicted", x, value, low, high), Series("measured", x, truth))
        title = "/".join(curve.key.values()) or "curve"
        plots.append(Curves(title, series, x_label="seen examples", y_label="loss", log_x=True))
    return Page(
        title=f"Learning curves of {found.table.path.name}",
        subtitle=f"{len(found.curves)} curves",
        sections=(Section("Predictions", tuple(plots)),),
        warnings=found.warnings,
        generated_from=(str(found.table.path),),
    )
