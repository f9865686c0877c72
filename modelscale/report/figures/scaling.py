"""Measured rungs of a ladder, the law through them, and what it said of the held-out ones."""

from __future__ import annotations

from itertools import chain
from math import nan
from typing import TYPE_CHECKING

from modelscale.report.charts import Numbers, ScalingLaw
from modelscale.report.figures.drawing import (
    Drawn,
    compact,
    figure_of,
    legend,
    new_axes,
    set_log,
)
from modelscale.report.figures.palette import INK, SURFACE, series_color
from modelscale.report.numbers import significant
from modelscale.report.thinning import has_logarithm

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_scaling_law(block: ScalingLaw, width: int) -> Drawn:
    """Draw each size's points and line in one colour, and intervals of what was held out."""
    points = [p for size in block.sizes for p in zip(size.x, size.y, strict=True)]
    points = [p for p in points if has_logarithm(p[0]) and has_logarithm(p[1])]
    if not points:
        return Drawn(None, "No rung has been measured yet.")
    axes = new_axes(width, 380, block.x_label, block.y_label)
    lines = [size.law for size in block.sizes if size.law is not None]
    set_log(axes.xaxis, [*(x for x, _ in points), *chain.from_iterable(s.x for s in lines)])
    set_log(axes.yaxis, [*(y for _, y in points), *chain.from_iterable(s.y for s in lines)])
    for index, size in enumerate(block.sizes):
        color = series_color(index)
        known = list(zip(_shown(size.x), _shown(size.y), strict=True))
        axes.scatter(
            [x for x, _ in known],
            [y for _, y in known],
            s=26,
            color=color,
            edgecolors=SURFACE,
            linewidths=0.6,
            zorder=3,
            label=size.name,
        )
        if size.law is not None:
            axes.plot(_shown(size.law.x), _shown(size.law.y), color=color, linewidth=1.6)
            if size.law.low:
                axes.fill_between(
                    _shown(size.law.x),
                    _shown(size.law.low),
                    _shown(size.law.high),
                    color=color,
                    alpha=0.13,
                    linewidth=0,
                )
    _held_out(axes, block)
    compact(axes.xaxis)
    legend(axes, width)
    told = "; ".join(
        f"held out at {significant(h.x)}: measured {significant(h.measured)}, predicted "
        f"{significant(h.value)} [{significant(h.low)}, {significant(h.high)}]"
        for h in block.held_out
    )
    what = f"{block.y_label} of {len(points)} runs by {block.x_label}"
    return Drawn(figure_of(axes), f"{what}; {told}." if told else f"{what}.")


def _held_out(axes: Axes, block: ScalingLaw) -> None:
    """Draw the interval that was foretold of each held-out rung, and what was measured."""
    for index, one in enumerate(block.held_out):
        if not all(map(has_logarithm, (one.x, one.value, one.low, one.high))):
            continue
        axes.errorbar(
            [one.x],
            [one.value],
            yerr=[[one.value - one.low], [one.high - one.value]],
            color=INK,
            capsize=5,
            linewidth=1.4,
            marker="_",
            markersize=10,
            zorder=4,
            label="foretold of held-out rungs" if index == 0 else None,
        )


def _shown(values: Numbers) -> list[float]:
    """Return values with gaps where a logarithmic axis has no place for them."""
    return [value if has_logarithm(value) else nan for value in values]
