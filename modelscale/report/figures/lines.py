"""Lines over a common axis, and the line that a regression on one feature has learnt."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from modelscale.report.characters import short
from modelscale.report.charts import Curves, FittedLine, Mark, Numbers, Series
from modelscale.report.figures.drawing import (
    Drawn,
    compact,
    figure_of,
    legend,
    lettered,
    new_axes,
    not_finite,
    set_log,
)
from modelscale.report.figures.palette import (
    INK,
    MUTED,
    REST,
    SERIES,
    SURFACE,
    series_color,
    series_dashes,
)
from modelscale.report.numbers import plain, significant
from modelscale.report.thinning import (
    CURVE_POINTS,
    condensed,
    has_logarithm,
    plottable,
    scatter_rows,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_curves(block: Curves, width: int) -> Drawn:
    """Draw every series as a line; a few points, or a lone one, get markers too."""
    drawn = [series for series in block.series if _points(series, block)]
    if not drawn:
        some = any(series.y for series in block.series)
        lack = (
            "No value has a place on these axes." if some else "Nothing has been measured yet."
        )
        return Drawn(None, lack, _left_out(block) if some else ())
    from matplotlib.ticker import MaxNLocator

    axes = new_axes(width, 300, block.x_label, block.y_label)
    if block.log_x:
        set_log(axes.xaxis, list(chain.from_iterable(s.x for s in drawn)))
    if block.log_y:
        shown = (column for s in drawn for column in (s.y, s.low, s.high))
        set_log(axes.yaxis, list(chain.from_iterable(shown)))
    for index, series in enumerate(drawn):
        _line(axes, series, series_color(index), series_dashes(index))
    for mark in block.marks:
        _mark(axes, mark, at_bottom=_busy_above(axes, drawn))
    compact(axes.xaxis)
    if not block.log_x and all(float(x).is_integer() for series in drawn for x in series.x):
        whole = MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10])  # no epoch is 2.5
        axes.xaxis.set_major_locator(whole)
    legend(axes, width)
    return Drawn(figure_of(axes), _told(block, drawn), _left_out(block))


def draw_fitted_line(block: FittedLine, width: int) -> Drawn:
    """Draw the points, the model with its band, and the closed-form solution over it."""
    if not any(map(plottable, block.y)) and block.model is None:
        return Drawn(None, "There are no points and no line yet.")
    axes = new_axes(width, 360, block.x_label, block.y_label)
    rows = scatter_rows(len(block.x))
    axes.scatter(
        [block.x[i] for i in rows if plottable(block.x[i]) and plottable(block.y[i])],
        [block.y[i] for i in rows if plottable(block.x[i]) and plottable(block.y[i])],
        s=22,
        color=REST,
        alpha=0.6,
        linewidths=0,
        label="data",
    )
    if block.model is not None:
        _line(axes, block.model, SERIES[0], ())
    if block.closed_form is not None:
        _line(axes, block.closed_form, SERIES[1], (5, 3))
    legend(axes, width)
    notes = not_finite(block.y)
    if len(rows) < len(block.x):
        notes += (f"Shown: {len(rows):,} of {len(block.x):,} points, drawn at random.",)
    lines = [s.name for s in (block.model, block.closed_form) if s is not None]
    told = f"{block.y_label} against {block.x_label}: {len(block.x):,} points"
    return Drawn(figure_of(axes), f"{told}; lines: {', '.join(lines) or 'none'}.", notes)


def _fits(block: Curves, x: float, y: float) -> bool:
    """Return whether the axes have a place for the point."""
    fits_x = has_logarithm if block.log_x else plottable
    fits_y = has_logarithm if block.log_y else plottable
    return fits_x(x) and fits_y(y)


def _points(series: Series, block: Curves) -> bool:
    """Return whether the axes have a place for any point of the series."""
    return any(_fits(block, x, y) for x, y in zip(series.x, series.y, strict=True))


def _line(axes: Axes, series: Series, color: str, dashes: tuple[float, ...]) -> None:
    thin = condensed(series)
    log_x, log_y = axes.get_xscale() == "log", axes.get_yscale() == "log"
    x = _with_gaps(thin.x, log=log_x)
    y, low, high = (_with_gaps(v, log=log_y) for v in (thin.y, thin.low, thin.high))
    axes.plot(
        x,
        y,
        color=color,
        linestyle=(0, dashes) if dashes else "-",
        marker="o" if sum(map(plottable, y)) <= 12 else "",
        markersize=5.5,
        markeredgecolor=SURFACE,
        label=series.name,
    )
    if low:
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)


def _with_gaps(values: Numbers, *, log: bool) -> list[float]:
    """Return the values with NaN, which matplotlib leaves out, where there is no place."""
    fits = has_logarithm if log else plottable
    return [v if fits(v) else float("nan") for v in values]


def _mark(axes: Axes, mark: Mark, *, at_bottom: bool) -> None:
    if not plottable(mark.x):
        return
    axes.axvline(mark.x, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
    # The label stands on the side of the line that has more room
    left, right = axes.get_xlim()
    near_right = axes.transAxes.inverted().transform(axes.transData.transform((mark.x, 0)))[0]
    side = -1 if near_right > 0.6 and left < right else 1
    lettered(
        axes,
        short(mark.label, 40),
        (mark.x, 0 if at_bottom else 1),
        xycoords=("data", "axes fraction"),
        xytext=(6 * side, 5 if at_bottom else -4),
        ha="right" if side < 0 else "left",
        va="bottom" if at_bottom else "top",
        color=INK,
        fontsize=10.5,
    )


def _busy_above(axes: Axes, drawn: list[Series]) -> bool:
    """Return whether lines end nearer to the top than to the bottom."""
    ends = [next((y for y in reversed(s.y) if plottable(y)), 0.0) for s in drawn]
    right = axes.get_xlim()[1]
    places = axes.transAxes.inverted().transform(
        axes.transData.transform([(right, y) for y in ends])
    )
    return bool(places[:, 1].mean() > 0.5)


def _told(block: Curves, drawn: list[Series]) -> str:
    ends = []
    for series in drawn[:8]:
        x, y = next(
            (x, y)
            for x, y in zip(reversed(series.x), reversed(series.y), strict=True)
            if plottable(x) and plottable(y)
        )
        ends.append(f"{series.name} ends at {significant(y)} ({plain(x)})")
    return f"{block.y_label or 'Value'} by {block.x_label or 'step'}: {'; '.join(ends)}."


def _left_out(block: Curves) -> tuple[str, ...]:
    notes = not_finite(tuple(chain.from_iterable(s.y for s in block.series)))
    if any(len(s.y) > CURVE_POINTS for s in block.series):
        notes += (
            f"Lines of more than {CURVE_POINTS:,} points show the mean of each stretch, shaded "
            "from its lowest to its highest value.",
        )
    hidden = sum(
        plottable(x) and plottable(y) and not _fits(block, x, y)
        for s in block.series
        for x, y in zip(s.x, s.y, strict=True)
    )
    if hidden:
        notes += (
            f"At or below zero, where a logarithmic axis has no place: {hidden:,} points.",
        )
    empty = [s.name for s in block.series if not _points(s, block)]
    if empty:
        notes += (f"Without values: {', '.join(empty)}.",)
    return notes
