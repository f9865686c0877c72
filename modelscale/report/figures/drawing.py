"""What all plots have in common: style, axes, scales, legends. Matplotlib is imported here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import floor, log10
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscale.errors import missing_extra
from modelscale.report.characters import short
from modelscale.report.charts import Direction
from modelscale.report.figures.palette import GRID, INK, MUTED, SURFACE
from modelscale.report.numbers import significant
from modelscale.report.thinning import has_logarithm, plottable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

FULL = 900
"""Width in pixels of a plot that has the page's column to itself."""

HALF = 440
"""Width in pixels of one of two plots side by side."""

_PER_INCH = 72  # an SVG unit is a point, which the page shows as a pixel
_CHARACTER = 6.3  # mean width in pixels of a character of a label
_ENTRY = 48  # width in pixels of a legend entry beside its text


class Drawn(NamedTuple):
    """A plot, its description for who does not see it, and what it leaves out.

    Attributes:
        figure: The plot; None where there is nothing to draw.
        description: What it shows; or why there is nothing.
        notes: Sentences for the caption.
    """

    figure: Figure | None
    description: str
    notes: tuple[str, ...] = ()


@contextmanager
def style() -> Iterator[None]:
    """Set matplotlib up for the report, whatever the user's own settings are, and put it back.

    Raises:
        Unavailable: If matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise missing_extra("matplotlib", "report", "the report") from None
    with mpl.rc_context(), warnings.catch_warnings():
        # The page's own font has the glyphs; DejaVu only measures them
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        # Equal or hair-close values: matplotlib widens the axis by itself, as it should
        warnings.filterwarnings("ignore", message="Attempting to set identical")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "modelscale",
                "text.parse_math": False,  # a dollar in a class name is a dollar
                "font.family": ["DejaVu Sans"],
                "font.size": 11,
                "text.color": INK,
                "axes.labelcolor": MUTED,
                "axes.labelsize": 11,
                "axes.edgecolor": GRID,
                "axes.facecolor": "none",
                "axes.titlesize": 11,
                "axes.titlecolor": MUTED,
                "axes.titlepad": 9,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.axisbelow": True,
                "axes.formatter.useoffset": False,
                "axes.formatter.limits": (-4, 7),
                "figure.facecolor": SURFACE,
                "grid.color": GRID,
                "grid.linewidth": 1,
                "legend.frameon": False,
                "legend.fontsize": 11,
                "legend.handlelength": 1.4,
                "legend.borderaxespad": 0,
                "legend.borderpad": 0,
                "lines.linewidth": 2,
                "lines.solid_capstyle": "round",
                "xtick.color": GRID,
                "ytick.color": GRID,
                "xtick.labelcolor": MUTED,
                "ytick.labelcolor": MUTED,
                "xtick.labelsize": 10.5,
                "ytick.labelsize": 10.5,
                "ytick.major.size": 0,
            }
        )
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many pixels whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / _PER_INCH, height / _PER_INCH), layout="constrained")


def new_axes(width: float, height: float, x_label: str = "", y_label: str = "") -> Axes:
    """Return the only axes of a new figure. The y label stands above, where it is read."""
    axes = new_figure(width, height).subplots()
    axes.grid(visible=True, axis="y")
    axes.set_xlabel(short(x_label, 60))
    axes.set_title(short(y_label, 40), loc="left")
    axes.margins(x=0.02)
    return axes


def figure_of(axes: Axes) -> Figure:
    """Return the figure that holds the axes."""
    from matplotlib.figure import Figure

    figure = axes.figure
    assert isinstance(figure, Figure)
    return figure


def legend(axes: Axes, width: float) -> None:
    """Name the lines above the axes: beside the y label if there is room, else below it."""
    handles, labels = axes.get_legend_handles_labels()
    title = axes.get_title(loc="left")
    if not handles or labels == [title]:
        return
    labels = [short(label, 40) for label in labels]
    needed = sum(_ENTRY + len(label) * _CHARACTER for label in labels)
    if needed + len(title) * _CHARACTER < width - 70:
        axes.legend(
            handles, labels, loc="lower right", bbox_to_anchor=(1, 1.025), ncols=len(labels)
        )
        return
    widest = _ENTRY + max(map(len, labels)) * _CHARACTER
    columns = max(1, min(len(labels), int((width - 60) // widest)))
    rows = -(-len(labels) // columns)
    axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1.025), ncols=columns)
    axes.set_title(title, loc="left", pad=14 + rows * 17)


def set_log(axis: Axis, values: Sequence[float]) -> None:
    """Make an axis logarithmic, with ticks that read as plain numbers.

    Args:
        axis: x or y axis.
        values: What is shown on it.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    shown = [v for v in values if has_logarithm(v)]
    if not shown:
        return
    set_scale = axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale
    set_scale("log", nonpositive="mask")
    decades = log10(max(shown)) - log10(min(shown))
    if decades >= 2:
        axis.set_major_locator(LogLocator(subs=(1.0,), numticks=8))
    elif decades >= 0.7:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    else:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_minor_locator(NullLocator())


def compact(axis: Axis) -> None:
    """Shorten an axis' large ticks, once everything is drawn: 20000 as `20k`."""
    from matplotlib.ticker import FuncFormatter

    if max(map(abs, axis.get_view_interval())) >= 10_000:
        axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def tick(value: float) -> str:
    """Return a number as short as it can be said: `0.001`, `1e-05`, `20k`."""
    if value and not 1e-4 <= abs(value) < 1e15:
        return f"{value:.3g}"
    if abs(value) >= 10_000:
        power = min(4, floor(log10(abs(value))) // 3)
        return f"{value / 1000**power:.4g}{' kMGT'[power]}"
    return f"{value:.4g}"


def robust_limits(values: Sequence[float], direction: Direction) -> tuple[float, float] | None:
    """Return the range that shows nearly all values when a few would crush the rest.

    None where all of them fit. Far is six quartile ranges beyond the worse quartile (a trial
    that diverged, not one that is merely poor), or fifty when more than a tenth would be lost.
    A value is never too good to be shown.
    """
    sign = 1.0 if direction == "minimize" else -1.0
    shown = sorted(sign * v for v in values if plottable(v))
    if len(shown) < 5:
        return None
    third = shown[3 * len(shown) // 4]
    width = third - shown[len(shown) // 4]
    near = [v for v in shown if v <= third + 6 * width]
    if len(near) < 0.9 * len(shown):
        near = [v for v in shown if v <= third + 50 * width]
    if width == 0 or len(near) == len(shown):
        return None
    margin = 0.06 * (near[-1] - near[0])
    low, high = sorted((sign * (near[0] - margin), sign * (near[-1] + margin)))
    return low, high


def lettered(axes: Axes, text: str, place: tuple[float, float], **looks: Any) -> None:
    """Write text over lines, on a patch of the page's own colour so that it can be read.

    Args:
        axes: Where.
        text: What.
        place: The point that it stands beside, in data units unless `looks` says otherwise.
        looks: Passed to matplotlib's `annotate`.
    """
    patch = {"facecolor": SURFACE, "alpha": 0.82, "linewidth": 0, "pad": 1.2}
    axes.annotate(text, place, textcoords="offset points", bbox=patch, **looks)


def not_finite(values: Sequence[float]) -> tuple[str, ...]:
    """Return the caption's word on values that have no place on an axis."""
    lost = sum(not plottable(v) for v in values)
    return (f"Not finite and not shown: {lost:,} of {len(values):,} values.",) if lost else ()


def span(values: Sequence[float]) -> str:
    """Return the range of the finite values in words; empty if there is none."""
    shown = [v for v in values if plottable(v)]
    if not shown:
        return ""
    return f"from {significant(min(shown))} to {significant(max(shown))}"
