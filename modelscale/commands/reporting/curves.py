"""What was measured while a run trained, by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelscale.commands.reporting.reading import RunView
from modelscale.report.charts import Curves, Mark, Series
from modelscale.report.content import Block, Paragraph, Section
from modelscale.report.numbers import plain

LOSSES = ("train/loss", "validation/loss")
RATE = "lr"
_MOST_LINES = 8  # members with a line of their own; more become a band
_LOG_FROM = 20  # ratio of the largest to the smallest loss
_NOT_CURVES = {"step", "epoch", "member", "nonfinite", "seconds", RATE}

Run = Mapping[int, float]  # a value by epoch


def curves_section(view: RunView) -> Section:
    """Return losses, metrics and the learning rate by epoch."""
    members = by_member(view.lines)
    marks = _best_marks(view, len(members))
    losses = _loss_series(members)
    blocks: list[Block] = [
        Curves(
            "Loss by epoch",
            losses,
            x_label="epoch",
            y_label=str(view.settings.get("loss.kind") or "loss"),
            log_y=wide(losses),
            marks=marks,
            caption=_caption(len(members), bands=True),
        )
    ]
    for key in metric_keys(view.lines):
        some = len(members) <= _MOST_LINES
        series = _lines(key, members) if some else (band(key, members.values(), key),)
        caption = _caption(len(members), bands=not some)
        blocks.append(
            Curves(f"{key} by epoch", series, "epoch", key, marks=marks, caption=caption)
        )
    blocks.append(_rate(members))
    note = "One point an epoch. Reported losses are without penalties."
    if view.status == "done" and marks:
        note += " The marked epoch's weights were kept."
    return Section("Training", tuple(blocks), note)


def by_member(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the lines of each member; those of a run with one model under an empty name."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        found.setdefault(str(line.get("member", "")), []).append(line)
    return found


def metric_keys(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what was measured beside the losses and the learning rate."""
    keys = dict.fromkeys(key for line in lines for key in line)
    return [key for key in keys if key not in {*_NOT_CURVES, *LOSSES}]


def by_epoch(lines: Iterable[Mapping[str, Any]], key: str) -> dict[int, float]:
    """Return a value by epoch; NaN where it was not finite."""
    found: dict[int, float] = {}
    for line in lines:
        if isinstance(line.get("epoch"), int) and key in line:
            value = line[key]
            found[line["epoch"]] = value if isinstance(value, int | float) else math.nan
    return found


def series_of(name: str, run: Run) -> Series:
    """Return one line."""
    epochs = sorted(run)
    return Series(name, tuple(map(float, epochs)), tuple(run[epoch] for epoch in epochs))


def band(key: str, members: Iterable[Sequence[Mapping[str, Any]]], name: str) -> Series:
    """Return the mean over members, with a band from the lowest to the highest."""
    runs = [by_epoch(lines, key) for lines in members]
    epochs = sorted({epoch for run in runs for epoch in run})
    at = [[run[e] for run in runs if math.isfinite(run.get(e, math.nan))] for e in epochs]
    mean = tuple(math.fsum(v) / len(v) if v else math.nan for v in at)
    if len(runs) == 1:
        return Series(name, tuple(map(float, epochs)), mean)
    low = tuple(min(v, default=math.nan) for v in at)
    high = tuple(max(v, default=math.nan) for v in at)
    return Series(name, tuple(map(float, epochs)), mean, low, high)


def wide(series: Sequence[Series]) -> bool:
    """Return whether lines are positive and of such different sizes that logs show them."""
    ys = [y for line in series for y in line.y if math.isfinite(y)]
    return bool(ys) and min(ys) > 0 and max(ys) / min(ys) > _LOG_FROM


def _loss_series(members: Mapping[str, list[Mapping[str, Any]]]) -> tuple[Series, ...]:
    return tuple(
        band(key, members.values(), key.partition("/")[0])
        for key in LOSSES
        if any(key in line for lines in members.values() for line in lines)
    )


def _lines(key: str, members: Mapping[str, list[Mapping[str, Any]]]) -> tuple[Series, ...]:
    return tuple(
        series_of(label or key.partition("/")[0], by_epoch(lines, key))
        for label, lines in members.items()
    )


def _rate(members: Mapping[str, list[Mapping[str, Any]]]) -> Curves | Paragraph:
    first = next(iter(members.values()), [])
    rates = by_epoch(first, RATE)
    if len(set(rates.values())) == 1:
        rate = plain(next(iter(rates.values())))
        return Paragraph(f"The learning rate was {rate} from the first epoch to the last.")
    series = (series_of("learning rate", rates),) if rates else ()
    return Curves(
        "Learning rate by epoch",
        series,
        x_label="epoch",
        y_label="learning rate",
        log_y=wide(series),
        caption="At the end of each epoch.",
    )


def _caption(members: int, *, bands: bool) -> str:
    if members <= 1 or not bands:
        return ""
    return f"Mean of {members} members; the band goes from the lowest to the highest."


def _best_marks(view: RunView, members: int) -> tuple[Mark, ...]:
    """Return where the kept weights come from, if there is one such place to show."""
    chosen = view.result.get("best_member")
    best = next((m for m in view.members if m.get("label") == chosen), None)
    epoch = best.get("best_epoch") if best is not None else None
    if not isinstance(epoch, int):
        return ()
    whose = f" of {chosen}" if members > 1 else ""
    return (Mark(float(epoch), f"kept{whose}: epoch {epoch}"),)
