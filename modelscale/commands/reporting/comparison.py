"""Several runs side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from modelscale.commands.reporting.answers import Answers, answers_of
from modelscale.commands.reporting.curves import LOSSES, band, by_member, wide
from modelscale.commands.reporting.overview import state_of, subtitle_of
from modelscale.commands.reporting.reading import (
    RunView,
    baselines,
    estimates,
    reported_part,
)
from modelscale.errors import ModelscaleError
from modelscale.report import numbers
from modelscale.report.charts import Bars, BarSeries, Curves
from modelscale.report.content import Block, Cell, Estimate, Page, Paragraph, Section, Table

_MOST_CURVES = 8
_MOST_METRICS = 6
_NOT_SETTINGS = {"name"}


def comparison_page(views: Sequence[RunView]) -> Page:
    """Return the report on several runs."""
    labels = labels_of(views)
    states = [
        f"{label}: {state}"
        for label, view in zip(labels, views, strict=True)
        if (state := state_of(view))
    ]
    faults = [fault for view in views for fault in view.faults]
    sections = (
        _metrics(labels, views),
        _paired(labels, views),
        _curves(labels, views),
        _settings(labels, views),
        _runs(labels, views),
    )
    return Page(
        title=f"{len(views)} runs compared",
        subtitle=", ".join(labels),
        sections=tuple(section for section in sections if section is not None),
        warnings=(*states, *faults, *_other_data(labels, views)),
        generated_from=tuple(f"run {view.name}/{view.record.run}" for view in views),
    )


def labels_of(views: Sequence[RunView]) -> list[str]:
    """Return a name for each run: its own, with its folder's where several share one."""
    names = Counter(view.name for view in views)
    return [
        view.name if names[view.name] == 1 else f"{view.name}/{view.record.run}"
        for view in views
    ]


def _metrics(labels: Sequence[str], views: Sequence[RunView]) -> Section:
    found = [estimates(view.result) for view in views]
    blocks: list[Block] = []
    for part in ("test", "validation"):
        metrics = list(dict.fromkeys(label for e in found for label in e.get(part, {})))
        if not metrics:
            continue
        rows: list[tuple[Cell, ...]] = [
            (label, *(measured.get(part, {}).get(m, Estimate(None)) for m in metrics))
            for label, measured in zip(labels, found, strict=True)
        ]
        blocks.append(
            Table(("Run", *metrics), (*rows, *_constant(views, part, metrics)), f"{part} part")
        )
    judged = next((p for p in map(reported_part, found) if p is not None), None)
    if judged is not None:
        metrics = list(dict.fromkeys(label for e in found for label in e.get(judged, {})))
        blocks += [_bars(labels, found, judged, metric) for metric in metrics[:_MOST_METRICS]]
    note = (
        "Intervals (95 % unless evaluate.confidence says otherwise): over the examples for a "
        "run with one model (bootstrap; Wilson's for "
        "shares), over members for a run with several (Student's t). Intervals of different "
        "kinds are not to be compared with each other."
    )
    return Section("Results", tuple(blocks), note)


def _constant(
    views: Sequence[RunView], part: str, metrics: Sequence[str]
) -> tuple[tuple[Cell, ...], ...]:
    """Return the row of the constant answer, if it is the same in all runs that have one."""
    plain = [baselines(view.result).get(part) for view in views]
    known = [values for values in plain if values]
    if not known or any(values != known[0] for values in known):
        return ()
    return (("constant answer", *(Estimate(known[0].get(metric)) for metric in metrics)),)


def _bars(
    labels: Sequence[str],
    found: Sequence[dict[str, dict[str, Estimate]]],
    part: str,
    metric: str,
) -> Bars:
    nan = float("nan")
    cells = [measured.get(part, {}).get(metric, Estimate(None)) for measured in found]
    values, low, high = (
        tuple(nan if number is None else number for number in numbers_)
        for numbers_ in zip(*((c.value, c.low, c.high) for c in cells), strict=True)
    )
    return Bars(f"{part} {metric}", tuple(labels), (BarSeries(metric, values, low, high),))


def _paired(labels: Sequence[str], views: Sequence[RunView]) -> Section | None:
    """Return differences to the first run on the same examples; None if there are none."""
    from modelscale.evaluation.intervals import paired_difference
    from modelscale.evaluation.metric_names import metric_for

    first, *others = (_answers(view) for view in views)
    if first is None:
        return None
    task = "classification" if first.classes else "regression"
    names = list(estimates(views[0].result).get(first.part, {}))[:_MOST_METRICS]
    rows: list[tuple[Cell, ...]] = []
    for label, view, other in zip(labels[1:], views[1:], others, strict=True):
        if other is None or not _same_examples(views[0], first, view, other):
            continue
        cells: list[Cell] = [label]
        for name in names:
            try:
                metric = metric_for(name, "classification" if first.classes else "regression")
            except ValueError:
                cells.append(None)
                continue
            d = paired_difference(metric, other.predictions, first.predictions, first.targets)
            cells.append(Estimate(d.value, d.low, d.high))
        rows.append(tuple(cells))
    if not rows:
        return None
    note = (
        f"Each run minus {labels[0]} on the same {len(first.rows):,} examples of the "
        f"{first.part} part, with a 95 % interval. What is hard for both cancels out, so this "
        "tells runs apart whose own intervals overlap; an interval without 0 is a difference."
    )
    several = any(len(view.members) > 1 for view in views)
    caption = "Of a run with several members, the best one in validation." if several else ""
    table = Table(("Run", *(f"Δ {name}" for name in names)), tuple(rows), caption=caption)
    return Section(f"Paired differences ({task})", (table,), note)


def _answers(view: RunView) -> Answers | None:
    try:
        return answers_of(view)
    except ModelscaleError:
        return None


def _same_examples(view: RunView, a: Answers, other: RunView, b: Answers) -> bool:
    same = view.record.facts.data_fingerprint == other.record.facts.data_fingerprint
    return same and (a.part, a.rows, a.labels, a.classes) == (
        b.part,
        b.rows,
        b.labels,
        b.classes,
    )


def _curves(labels: Sequence[str], views: Sequence[RunView]) -> Section:
    shown = list(zip(labels, views, strict=True))[:_MOST_CURVES]
    keys = list(reversed(LOSSES))
    measured = dict.fromkeys(
        key for _, view in shown for line in view.lines for key in line if "/" in key
    )
    keys += [key for key in measured if key not in LOSSES][: _MOST_METRICS - 2]
    blocks: list[Block] = []
    for key in keys:
        series = tuple(
            band(key, by_member(view.lines).values(), label)
            for label, view in shown
            if any(key in line for line in view.lines)
        )
        if series:
            log = key in LOSSES and wide(series)
            blocks.append(Curves(f"{key} by epoch", series, "epoch", key, log_y=log))
    if not blocks:
        blocks.append(Paragraph("None of the runs has curves of its own."))
    note = "Runs with several members: their mean, with a band from the lowest to the highest."
    if len(views) > _MOST_CURVES:
        note += f" The first {_MOST_CURVES} of {len(views)} runs."
    return Section("Training", tuple(blocks), note)


def _settings(labels: Sequence[str], views: Sequence[RunView]) -> Section:
    keys = dict.fromkeys(key for view in views for key in view.settings)
    rows: list[tuple[Cell, ...]] = []
    for key in keys:
        values = [view.settings.get(key) for view in views]
        if key not in _NOT_SETTINGS and any(value != values[0] for value in values):
            rows.append((key, *map(_text, values)))
    if not rows:
        return Section("Settings", (Paragraph("All settings are the same."),))
    return Section("Settings that differ", (Table(("Setting", *labels), tuple(rows)),))


def _runs(labels: Sequence[str], views: Sequence[RunView]) -> Section:
    rows = tuple(
        (
            label,
            subtitle_of(view),
            (view.result.get("model") or {}).get("parameters"),
            (view.result.get("model") or {}).get("macs"),
            numbers.duration(view.result.get("seconds")),
        )
        for label, view in zip(labels, views, strict=True)
    )
    return Section("Runs", (Table(("Run", "What", "Parameters", "MACs", "Time"), rows),))


def _other_data(labels: Sequence[str], views: Sequence[RunView]) -> tuple[str, ...]:
    seen = {view.record.facts.data_fingerprint for view in views} - {None}
    if len(seen) < 2:
        return ()
    return (f"The runs have different data, so their metrics say little: {', '.join(labels)}.",)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, float):
        return numbers.plain(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(str(_text(item)) for item in value)}]"
    return str(value)
