"""How a search went: over time, over all hyper-parameters, and over one of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import TYPE_CHECKING, NamedTuple

from modelscale.report.characters import short
from modelscale.report.charts import (
    Axis,
    Direction,
    History,
    ParallelCoordinates,
    SliceScatter,
)
from modelscale.report.figures.drawing import (
    Drawn,
    compact,
    figure_of,
    legend,
    lettered,
    new_axes,
    robust_limits,
    set_log,
    tick,
)
from modelscale.report.figures.endings import by_ending, mark_trials
from modelscale.report.figures.palette import INK, MUTED, REST, SERIES, SURFACE
from modelscale.report.numbers import significant
from modelscale.report.thinning import curve_rows, has_logarithm, plottable, scatter_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NO_TRIALS = "No trial has finished yet."
_MOST_LINES = 500
_MOST_CHOICES = 12
_BELOW = -0.12  # where lines pass an axis on which they have no value
_FEW = 6  # numbers that are rather choices: each gets its tick


def draw_history(block: History, width: int) -> Drawn:
    """Draw each trial as a dot, and the best so far as stairs beside a random search's."""
    if not any(map(plottable, block.values)):
        return Drawn(None, _NO_TRIALS)
    axes = new_axes(width, 300, "trial", block.metric)
    rows = scatter_rows(len(block.values))
    known = [i for i in rows if plottable(block.values[i])]
    groups = by_ending(known, block.stopped, block.infeasible)
    for ending, members in groups.items():
        mark_trials(axes, members, [block.values[i] for i in members], ending)
    _stairs(axes, block.random_best, "random search, best so far", REST, dashed=True)
    _stairs(axes, block.best_so_far, "best so far", SERIES[0], dashed=False)
    every = [*block.values, *block.best_so_far, *block.random_best]
    notes = _clip(axes, every, block.direction)
    axes.locator_params(axis="x", integer=True)
    compact(axes.xaxis)
    legend(axes, width)
    lost = sum(not plottable(v) for v in block.values)
    if lost:
        notes += (f"Trials without a value: {lost:,} of {len(block.values):,}.",)
    if len(rows) < len(block.values):
        notes += (f"Shown: {len(rows):,} of {len(block.values):,} trials, drawn at random.",)
    return Drawn(figure_of(axes), _history_told(block), notes)


def draw_slice(block: SliceScatter, width: int) -> Drawn:
    """Draw trials' values against one hyper-parameter, the best in a colour of its own."""
    scored = [i for i, score in enumerate(block.scores) if plottable(score)]
    scale = _scale(Axis(block.param, tuple(block.values[i] for i in scored), block.log))
    if not scored or scale is None:
        return Drawn(None, _NO_TRIALS)
    axes = new_axes(width, 250, block.param, block.metric)
    best = _best_first([block.scores[i] for i in scored], block.direction)[0]
    rows = sorted({*scatter_rows(len(scored)), best})
    x = [scale.raw[i] for i in rows]
    y = [block.scores[scored[i]] for i in rows]
    if scale.choices:
        _choice_ticks(axes, scale.choices)
        # Choices share one place each; a fixed spread keeps trials apart
        x = [v + 0.28 * ((i * 0.618034) % 1 - 0.5) for i, v in enumerate(x)]
    elif block.log:
        set_log(axes.xaxis, x)
    if not scale.choices and len(set(x)) <= _FEW:
        axes.set_xticks(sorted(set(x)), [tick(v) for v in sorted(set(x))])
    axes.scatter(x, y, s=24, color=SERIES[0], alpha=0.55, linewidths=0)
    mark = rows.index(best)
    axes.scatter(x[mark], y[mark], s=60, facecolors=SERIES[1], edgecolors=SURFACE, label="best")
    notes = _clip(axes, y, block.direction)
    legend(axes, width)
    if len(rows) < len(scored):
        notes += (f"Shown: {len(rows):,} of {len(scored):,} trials, drawn at random.",)
    at = block.values[scored[best]]
    named = at if isinstance(at, str) else significant(at)
    told = f"{len(scored):,} trials; the best, {significant(y[mark])}, is at {named}."
    return Drawn(figure_of(axes), told, notes)


def draw_parallel(block: ParallelCoordinates, width: int) -> Drawn:
    """Draw each trial as a line through all axes; the best tenth in colour, the best bold."""
    scored = [i for i, score in enumerate(block.scores) if plottable(score)]
    ranked = [
        scored[i] for i in _best_first([block.scores[i] for i in scored], block.direction)
    ]
    limits = robust_limits([block.scores[i] for i in scored], block.direction)
    near = [i for i in ranked if limits is None or limits[0] <= block.scores[i] <= limits[1]]
    shown = near[:_MOST_LINES]
    columns = [
        (axis.name, _scale(Axis(axis.name, tuple(axis.values[i] for i in shown), axis.log)))
        for axis in block.axes
    ]
    last = (block.metric, _scale(Axis(block.metric, tuple(block.scores[i] for i in shown))))
    scales = [
        (name, _with_absent(scale)) for name, scale in (*columns, last) if scale is not None
    ]
    if not shown or len(scales) < 2:
        return Drawn(None, _NO_TRIALS)
    axes = new_axes(width, 340)
    axes.grid(visible=False)
    axes.set_axis_off()
    top = max(1, round(len(shown) / 10))
    for rank in reversed(range(len(shown))):
        line = [scale.place[rank] for _, scale in scales]
        _trial_line(axes, line, rank, top)
    for place, (name, scale) in enumerate(scales):
        _upright(axes, place, name, scale, 2 * width // (13 * len(scales)))
    axes.set_xlim(-0.35, len(scales) - 0.65)
    axes.set_ylim(_BELOW - 0.05, 1.16)
    notes: tuple[str, ...] = (
        f"Orange: the best trial. Blue: the best {top:,} of {len(scored):,}.",
    )
    if len(near) < len(scored):
        notes += (f"Not shown: {len(scored) - len(near):,} with values far from the others.",)
    if len(shown) < len(near):
        notes += (f"Shown: the best {len(shown):,}.",)
    names = ", ".join(name for name, _ in scales)
    return Drawn(figure_of(axes), f"{len(shown):,} trials through {names}.", notes)


class _Scale(NamedTuple):
    """One axis: each trial's value as a number, its place from 0 to 1, and what is labelled."""

    raw: list[float]
    place: list[float]
    labels: list[tuple[float, str]]
    choices: list[str]


def _scale(axis: Axis) -> _Scale | None:
    """Return an axis' scale; None if it has no value that can be placed."""
    if any(isinstance(value, str) for value in axis.values):
        return _choices(
            [value if isinstance(value, str) else tick(value) for value in axis.values]
        )
    numbers = [float(value) for value in axis.values]
    fits = has_logarithm if axis.log else plottable
    lost = float("nan")
    ok = [v for v in numbers if fits(v)]
    if not ok:
        return None
    raw = [v if fits(v) else lost for v in numbers]
    ends = [log10(v) if axis.log else v for v in (min(ok), max(ok))]
    width = ends[1] - ends[0]
    place = [
        lost if v != v else ((log10(v) if axis.log else v) - ends[0]) / width if width else 0.5
        for v in raw
    ]
    if not width:
        return _Scale(raw, place, [(0.5, tick(ok[0]))], [])
    if len(set(ok)) <= _FEW:
        named = sorted({(p, tick(v)) for p, v in zip(place, raw, strict=True) if v == v})
        return _Scale(raw, place, named, [])
    middle = ends[0] + width / 2
    ticks = (min(ok), 10**middle if axis.log else middle, max(ok))
    labels = [(at, tick(float(f"{v:.3g}"))) for at, v in zip((0, 0.5, 1), ticks, strict=True)]
    return _Scale(raw, place, labels, [])


def _with_absent(scale: _Scale) -> _Scale:
    """Return a scale on which trials without a value have a place too, below all others."""
    if not any(at != at for at in scale.place):
        return scale
    place = [_BELOW if at != at else at for at in scale.place]
    return scale._replace(place=place, labels=[(_BELOW, "absent"), *scale.labels])


def _choices(words: list[str]) -> _Scale:
    """Return the scale of words, in the order of their first letters and numbers."""
    names = sorted(set(words), key=lambda word: (len(word), word))
    index = {name: float(i) for i, name in enumerate(names)}
    most = max(1, len(names) - 1)
    place = [index[w] / most if len(names) > 1 else 0.5 for w in words]
    stride = -(-len(names) // _MOST_CHOICES)
    labels = [
        (i / most if len(names) > 1 else 0.5, name)
        for i, name in enumerate(names)
        if i % stride == 0
    ]
    return _Scale([index[w] for w in words], place, labels, names)


def _choice_ticks(axes: Axes, choices: list[str]) -> None:
    names = [short(choice, max(6, 60 // len(choices))) for choice in choices]
    stride = -(-len(choices) // _MOST_CHOICES)
    axes.set_xticks(range(0, len(choices), stride), names[::stride])
    axes.set_xlim(-0.5, len(choices) - 0.5)


def _best_first(scores: Sequence[float], direction: Direction) -> list[int]:
    """Return indices from the best score to the worst; the earlier of equals is first."""
    sign = 1 if direction == "minimize" else -1
    return sorted(range(len(scores)), key=lambda i: sign * scores[i])


def _stairs(
    axes: Axes, values: Sequence[float], label: str, color: str, *, dashed: bool
) -> None:
    if not any(map(plottable, values)):
        return
    rows = curve_rows(len(values))
    axes.step(
        rows,
        [values[i] if plottable(values[i]) else float("nan") for i in rows],
        where="post",
        color=color,
        linestyle=(0, (4, 2)) if dashed else "-",
        linewidth=1.6 if dashed else 2.4,
        label=label,
    )


def _clip(axes: Axes, values: Sequence[float], direction: Direction) -> tuple[str, ...]:
    """Zoom in where a few far values would crush all others, and say how many are outside."""
    limits = robust_limits(values, direction)
    if limits is None:
        return ()
    axes.set_ylim(limits)
    beyond = sum(plottable(v) and not limits[0] <= v <= limits[1] for v in values)
    return (f"Values far outside the picture: {beyond:,}.",)


def _trial_line(axes: Axes, line: list[float], rank: int, top: int) -> None:
    color, width, alpha = REST, 1.0, 0.35
    if rank == 0:
        color, width, alpha = SERIES[1], 2.6, 1.0
    elif rank < top:
        color, width, alpha = SERIES[0], 1.6, 0.8
    axes.plot(range(len(line)), line, color=color, linewidth=width, alpha=alpha, zorder=2)


def _upright(axes: Axes, place: int, name: str, scale: _Scale, room: int) -> None:
    axes.plot((place, place), (0, 1), color=MUTED, linewidth=1.2, zorder=3)
    axes.text(
        place, 1.09, short(name, max(8, room)), ha="center", va="bottom", color=INK, fontsize=11
    )
    for at, label in scale.labels:
        lettered(
            axes,
            short(label, max(6, room - 4)),
            (place, at),
            xytext=(6, 0),
            va="center_baseline",
            fontsize=10.5,
            color=INK,
            zorder=4,
        )


def _history_told(block: History) -> str:
    reached = [v for v in block.best_so_far if plottable(v)]
    told = f"{block.metric} of {len(block.values):,} trials"
    if reached:
        told += f"; the best is {significant(reached[-1])}"
    random = [v for v in block.random_best if plottable(v)]
    if random:
        told += f", that of a random search {significant(random[-1])}"
    return told + "."
