"""What a classifier confuses, and whether its confidence can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.report.characters import short
from modelscale.report.charts import Bin, Calibration, Confusion
from modelscale.report.figures.drawing import Drawn, figure_of, legend, new_axes, new_figure
from modelscale.report.figures.palette import HEAT, INK, MUTED, ON_HEAT, REST, SERIES, SURFACE
from modelscale.report.numbers import percent
from modelscale.report.thinning import plottable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ANNOTATED_CLASSES = 30  # beyond this a cell is smaller than its number


def draw_confusion(block: Confusion, width: int) -> Drawn:
    """Draw the matrix with a row for each true class, coloured by share of the row."""
    n = len(block.labels)
    total = sum(map(sum, block.counts))
    if total == 0:
        return Drawn(None, "Nothing has been predicted yet.")
    longest = max(len(short(label, 16)) for label in block.labels)
    margin = 46 + longest * 6.5
    cell = max(12.0, min(90.0 if n <= 4 else 56.0, (min(width, 760) - margin) / n))
    across = longest * 6.5 > cell - 4
    side = cell * n + margin
    axes = new_axes(side, cell * n + 46 + (longest * 6.5 if across else 20))
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for row, counts in enumerate(block.counts):
        for column, count in enumerate(counts):
            _cell(axes, row, column, count, count / max(1, sum(counts)), cell)
    axes.set_xlim(0, n)
    axes.set_ylim(n, 0)
    axes.set_aspect("equal")
    _class_ticks(axes, block.labels, across)
    right = sum(block.counts[i][i] for i in range(n))
    told = f"Confusion matrix of {n} classes: {right:,} of {total:,} on the diagonal"
    return Drawn(figure_of(axes), f"{told}{_worst(block)}.", _unannotated(n))


def draw_calibration(block: Calibration, width: int) -> Drawn:
    """Draw accuracy against confidence, and how many predictions each point stands for."""
    bins = [b for b in block.bins if b.count > 0 and plottable(b.confidence)]
    bins = [b for b in bins if plottable(b.accuracy)]
    if not bins:
        return Drawn(None, "Nothing has been predicted yet.")
    figure = new_figure(min(width, 560), 400)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.grid(visible=True)
    axes.plot((0, 1), (0, 1), color=REST, linewidth=1.2, linestyle=(0, (4, 3)), label="perfect")
    axes.plot(
        [b.confidence for b in bins],
        [b.accuracy for b in bins],
        color=SERIES[0],
        marker="o",
        markersize=6.5,
        markeredgecolor=SURFACE,
        label="measured",
    )
    _whiskers(axes, bins)
    axes.set_title("accuracy", loc="left")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    legend(axes, min(width, 560))
    below.bar([b.confidence for b in bins], [b.count for b in bins], width=0.045, color=REST)
    below.set_title("predictions", loc="left")
    below.set_xlabel("confidence")
    below.locator_params(axis="y", nbins=3)
    below.grid(visible=True, axis="y")
    told = "; ".join(f"{percent(b.confidence, 0)}: {percent(b.accuracy, 0)}" for b in bins)
    return Drawn(figure, f"Accuracy by confidence: {told}.")


def _whiskers(axes: Axes, bins: list[Bin]) -> None:
    for b in bins:
        if b.low is not None and b.high is not None and plottable(b.low) and plottable(b.high):
            axes.vlines(b.confidence, b.low, b.high, color=SERIES[0], linewidth=1.4)


def _cell(axes: Axes, row: int, column: int, count: int, share: float, cell: float) -> None:
    from matplotlib.patches import Rectangle

    gap = 0.02
    strength = 0.0 if count == 0 else round(0.1 + 0.9 * share, 2)
    if count or row == column:
        axes.add_patch(
            Rectangle(
                (column + gap, row + gap),
                1 - 2 * gap,
                1 - 2 * gap,
                facecolor=HEAT,
                alpha=max(strength, 0.04),
                linewidth=0,
            )
        )
    if count and cell >= (760 - 46) / _ANNOTATED_CLASSES - 4:
        size = min(13.0, cell * 0.42, 1.55 * cell / len(str(count)))
        color = ON_HEAT if strength > 0.5 else INK
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{count}",
            ha="center",
            va="center_baseline",
            fontsize=max(6.0, size),
            color=color,
        )


def _class_ticks(axes: Axes, labels: tuple[str, ...], across: bool) -> None:
    places = [i + 0.5 for i in range(len(labels))]
    names = [short(label, 16) for label in labels]
    axes.set_xticks(places, names, rotation=90 if across else 0)
    axes.set_yticks(places, names)
    size = 10.5 if len(labels) <= 30 else 8
    axes.tick_params(length=0, labelsize=size, labelcolor=INK)
    axes.xaxis.set_label_position("bottom")
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual", color=MUTED)


def _worst(block: Confusion) -> str:
    """Return the most frequent confusion in words; empty if there is none."""
    wrong = [
        (count, block.labels[row], block.labels[column])
        for row, counts in enumerate(block.counts)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    if not wrong:
        return ""
    count, actual, predicted = max(wrong, key=lambda found: found[0])
    return f"; most often {actual} was taken for {predicted} ({count:,} times)"


def _unannotated(n: int) -> tuple[str, ...]:
    if n <= _ANNOTATED_CLASSES:
        return ()
    return (f"Counts are left out of the cells of a matrix of {n} classes.",)
