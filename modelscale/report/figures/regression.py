"""How far a regression's predictions are off, and where."""

from __future__ import annotations

from modelscale.report.characters import short
from modelscale.report.charts import Numbers, Residuals, Scatter
from modelscale.report.figures.drawing import Drawn, figure_of, new_axes, new_figure, span
from modelscale.report.figures.palette import INK, MUTED, REST, SERIES
from modelscale.report.thinning import plottable, scatter_rows

_SIDE = 420


def draw_scatter(block: Scatter, width: int) -> Drawn:
    """Draw predicted against actual values; on the diagonal they are equal."""
    x, y, notes = _pairs(block.actual, block.predicted)
    if not x:
        return Drawn(None, "Nothing has been predicted yet.")
    side = min(width, _SIDE)
    axes = new_axes(side, side, f"actual {block.label}", f"predicted {block.label}")
    axes.grid(visible=True)
    low, high = min(*x, *y), max(*x, *y)
    margin = 0.04 * (high - low) or abs(low) * 0.1 or 1.0
    ends = (low - margin, high + margin)
    axes.plot(ends, ends, color=REST, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.scatter(x, y, s=18, color=SERIES[0], alpha=_alpha(len(x)), linewidths=0)
    axes.set_xlim(ends)
    axes.set_ylim(ends)
    axes.set_aspect("equal")
    told = f"{len(x):,} points: actual values {span(x)}, predicted {span(y)}."
    return Drawn(figure_of(axes), told, notes)


def draw_residuals(block: Residuals, width: int) -> Drawn:
    """Draw residuals against predictions with their histogram; none is to have a shape."""
    x, y, notes = _pairs(block.predicted, block.residuals)
    if not x:
        return Drawn(None, "Nothing has been predicted yet.")
    figure = new_figure(width, _SIDE if width <= _SIDE + 40 else 340)
    axes, beside = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    axes.grid(visible=True)
    axes.axhline(0, color=MUTED, linewidth=1.2)
    axes.scatter(x, y, s=18, color=SERIES[0], alpha=_alpha(len(x)), linewidths=0)
    axes.set_title("actual − predicted", loc="left")
    axes.set_xlabel(short(f"predicted {block.label}", 60))
    beside.hist(y, bins=24, orientation="horizontal", color=SERIES[0], alpha=0.55)
    beside.axhline(0, color=INK, linewidth=1.2)
    beside.set_xlabel("count")
    beside.locator_params(axis="x", nbins=2)
    beside.tick_params(axis="y", length=0)
    return Drawn(figure, f"Residuals of {len(x):,} predictions {span(y)}.", notes)


def _pairs(x: Numbers, y: Numbers) -> tuple[list[float], list[float], tuple[str, ...]]:
    """Return the points that are drawn, and the caption's word on the others."""
    finite = [(a, b) for a, b in zip(x, y, strict=True) if plottable(a) and plottable(b)]
    rows = scatter_rows(len(finite))
    notes: tuple[str, ...] = ()
    if len(finite) < len(x):
        lost = len(x) - len(finite)
        notes += (f"Not finite and not shown: {lost:,} of {len(x):,} points.",)
    if len(rows) < len(finite):
        notes += (f"Shown: {len(rows):,} of {len(finite):,} points, drawn at random.",)
    return [finite[i][0] for i in rows], [finite[i][1] for i in rows], notes


def _alpha(n: int) -> float:
    """Return how opaque a point is, so that a crowd shows where it is densest."""
    return 0.7 if n <= 400 else 0.45 if n <= 1500 else 0.25
