"""Values by label."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from modelscale.report.characters import short
from modelscale.report.charts import Bars, BarSeries
from modelscale.report.figures.drawing import Drawn, figure_of, legend, new_axes
from modelscale.report.figures.palette import GRID, INK, SERIES, SURFACE, series_color
from modelscale.report.numbers import column, significant
from modelscale.report.thinning import plottable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LABELS = 60


def draw_bars(block: Bars, width: int) -> Drawn:
    """Draw bars from zero for one plain series, else dots with whiskers in rows."""
    if not any(plottable(v) for s in block.series for v in s.values):
        return Drawn(None, "There are no values yet.")
    labels = block.labels[:_MOST_LABELS]
    plain = len(block.series) == 1 and not block.series[0].low
    row = 26 if plain else 14 + 9 * len(block.series)
    axes = new_axes(width, 74 + row * len(labels), block.x_label)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_visible(False)
    if plain:
        _plain(axes, block.series[0].values[: len(labels)])
    else:
        _dots(axes, block.series, len(labels))
        legend(axes, width)
    axes.set_yticks(range(len(labels)), [short(label, 28) for label in labels])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    notes: tuple[str, ...] = ()
    if len(labels) < len(block.labels):
        notes = (f"Shown: the first {len(labels)} of {len(block.labels):,}.",)
    return Drawn(figure_of(axes), _told(block), notes)


def _plain(axes: Axes, values: tuple[float, ...]) -> None:
    shown = [v if plottable(v) else 0.0 for v in values]
    axes.barh(range(len(shown)), shown, height=0.62, color=SERIES[0])
    for index, text in enumerate(column(values, 3)):
        axes.annotate(
            text,
            (max(0.0, shown[index]), index),
            xytext=(5, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=10.5,
            color=INK,
        )
    axes.margins(x=0.12)
    if min(shown) >= 0:
        axes.set_xlim(left=0)


def _dots(axes: Axes, series: tuple[BarSeries, ...], n: int) -> None:
    for row in range(n):
        axes.axhline(row, color=GRID, linewidth=1, zorder=0)
    apart = 0.56 / max(1, len(series))
    for index, one in enumerate(series):
        places = [i + (index - (len(series) - 1) / 2) * apart for i in range(n)]
        color = series_color(index)
        for place, low, high in zip(places, one.low, one.high, strict=False):
            if plottable(low) and plottable(high):
                axes.hlines(place, low, high, color=color, linewidth=2, alpha=0.45)
        axes.plot(
            [v if plottable(v) else float("nan") for v in one.values[:n]],
            places,
            color=color,
            linestyle="",
            marker="osD^vP"[index % 6],
            markersize=7,
            markeredgecolor=SURFACE,
            label=one.name if len(series) > 1 else None,
        )


def _told(block: Bars) -> str:
    parts = list(
        chain.from_iterable(
            (
                f"{label} {series.name} {significant(value)}"
                for label, value in zip(block.labels, series.values, strict=True)
            )
            for series in block.series
        )
    )
    more = f"; and {len(parts) - 40:,} more" if len(parts) > 40 else ""
    return f"{block.x_label or 'Values'}: {'; '.join(parts[:40])}{more}."
