"""What one objective of a search costs in another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.report.charts import TradeOff
from modelscale.report.figures.drawing import (
    Drawn,
    compact,
    figure_of,
    legend,
    new_axes,
    robust_limits,
    set_log,
)
from modelscale.report.figures.endings import by_ending, mark_trials
from modelscale.report.figures.palette import SERIES, SURFACE
from modelscale.report.numbers import significant
from modelscale.report.thinning import has_logarithm, plottable, scatter_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NO_TRIALS = "No trial has a value of both objectives yet."


def draw_trade_off(block: TradeOff, width: int) -> Drawn:
    """Draw trials by two objectives, and the Pareto front as stairs over them."""
    known = [i for i in range(len(block.x)) if _placed(block, i)]
    if not known:
        return Drawn(None, _NO_TRIALS)
    axes = new_axes(width, 340, block.x_label, block.y_label)
    front = [i for i in block.front if _placed(block, i)]
    chosen = set(front)
    _whiskers(axes, block, known)
    rows = sorted({known[place] for place in scatter_rows(len(known))} - chosen)
    for ending, members in by_ending(rows, block.stopped, block.infeasible).items():
        mark_trials(axes, [block.x[i] for i in members], [block.y[i] for i in members], ending)
    _front(axes, block, front)
    notes = _scales(axes, block, known)
    legend(axes, width)
    lost = len(block.x) - len(known)
    if lost:
        notes += (f"Not shown: {lost:,} of {len(block.x):,} {block.of} without both values.",)
    if len(rows) + len(front) < len(known):
        shown = len(rows) + len(front)
        notes += (f"Shown: {shown:,} of {len(known):,} {block.of}, drawn at random.",)
    return Drawn(figure_of(axes), _told(block, known, front), notes)


def _placed(block: TradeOff, index: int) -> bool:
    """Return whether a trial has a place on both axes."""
    fits = (has_logarithm if block.log_x else plottable)(block.x[index])
    return fits and (has_logarithm if block.log_y else plottable)(block.y[index])


def _whiskers(axes: Axes, block: TradeOff, known: list[int]) -> None:
    """Draw the intervals of y, where there are any."""
    whole = [i for i in known if block.y_low and plottable(block.y_low[i] + block.y_high[i])]
    axes.vlines(
        [block.x[i] for i in whole],
        [block.y_low[i] for i in whole],
        [block.y_high[i] for i in whole],
        color=SERIES[0],
        alpha=0.35,
        linewidth=1.2,
        zorder=1.5,
    )


def _front(axes: Axes, block: TradeOff, front: list[int]) -> None:
    """Draw the front; between two of its points the best is what the nearer one offers.

    Where x is a cost, that is the point to the left: what costs a little more is as good.
    """
    if not front:
        return
    order = sorted(front, key=lambda i: (block.x[i], block.y[i]))
    x, y = [block.x[i] for i in order], [block.y[i] for i in order]
    if block.connected and len(order) > 1:
        axes.step(
            x,
            y,
            where="post" if block.x_direction == "minimize" else "pre",
            color=SERIES[0],
            linewidth=1.8,
            zorder=2.5,
        )
    axes.scatter(
        x, y, s=52, color=SERIES[0], edgecolors=SURFACE, zorder=3, label="Pareto front"
    )


def _scales(axes: Axes, block: TradeOff, known: list[int]) -> tuple[str, ...]:
    """Set both axes up, zoomed in where a few trials off the front would crush all others."""
    if block.log_x:
        set_log(axes.xaxis, [block.x[i] for i in known])
        axes.margins(x=0.05)
    else:
        compact(axes.xaxis)
    if block.log_y:
        set_log(axes.yaxis, [block.y[i] for i in known])
        return ()
    values = [block.y[i] for i in known]
    limits = robust_limits(values, block.y_direction)
    if limits is None or not all(limits[0] <= block.y[i] <= limits[1] for i in block.front):
        compact(axes.yaxis)
        return ()
    axes.set_ylim(limits)
    beyond = sum(not limits[0] <= value <= limits[1] for value in values)
    return (f"Values far outside the picture: {beyond:,}.",)


def _told(block: TradeOff, known: list[int], front: list[int]) -> str:
    told = f"{block.y_label} against {block.x_label} of {len(known):,} {block.of}"
    if not front:
        return f"{told}."
    ends = sorted(front, key=lambda i: block.x[i])
    points = " to ".join(
        f"{significant(block.y[i])} at {significant(block.x[i])}"
        for i in dict.fromkeys((ends[0], ends[-1]))
    )
    return f"{told}; the Pareto front has {len(front):,}, from {points}."
