"""A model that was made smaller: what it was, what it is, and the sizes that were tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from modelscale.commands.reporting.reading import RunView, reported_part
from modelscale.report import numbers
from modelscale.report.charts import Bars, BarSeries, TradeOff
from modelscale.report.content import Block, Cell, Paragraph, Section, Stat, Table

_SIZES: tuple[tuple[str, str, Callable[[int], str]], ...] = (
    ("parameters", "parameters", numbers.count),
    ("macs", "MACs of an example", numbers.count),
    ("bytes", "bytes of parameters", numbers.size),
    ("file_bytes", "bytes on disk", numbers.size),
)
_WIDEST = 60


def pruned_stats(view: RunView) -> tuple[Stat, ...]:
    """Return the tiles: how many times fewer MACs, and the speed that was measured."""
    result = view.result
    if not _there(result):
        return ()
    before, after = result["before"], result["after"]
    fewer = before["macs"] / max(1, after["macs"])
    tiles = [Stat("Fewer MACs", f"{fewer:.2f}×", note=f"from {numbers.si(before['macs'])}")]
    for batch, found in result["speedup"][result["runtime"]].items():
        span = f"[{found['low']:.2f}, {found['high']:.2f}]"
        note = f"{result['runtime']}, {found['verdict']}"
        tiles.append(Stat(f"Speed at batch {batch}", f"{found['value']:.2f}×", span, note))
    return tuple(tiles)


def pruned_warnings(view: RunView) -> tuple[str, ...]:
    """Return what must be known first: where nothing got faster, and what was promised."""
    result = view.result
    if not _there(result):
        return ()
    verdicts = [e["verdict"] for own in result["speedup"].values() for e in own.values()]
    told = [] if all(verdict == "faster" for verdict in verdicts) else [result["verdict"]]
    told += [step["promise"]["text"] for step in result["steps"] if "promise" in step]
    told += [
        step["latency"]["text"] for step in result["steps"] if "text" in step.get("latency", {})
    ]
    return tuple(told)


def pruned_sections(view: RunView) -> list[Section]:
    """Return the sections about a pruning, as far as it has come; none of another run."""
    result = view.result
    if view.verb == "prune" and not _there(result):
        told = Paragraph("The pruning is not finished; `stages/` holds what has been made.")
        return [Section("Before and after", (told,))]
    if not _there(result):
        return []
    sections = [_sides(result)]
    points = [p for step in result["steps"] for p in step.get("points", ())]
    swept = [point for point in points if "point" in point]
    if swept:
        sections.append(_sweep(swept))
    elif points:
        sections.append(_budget(points))
    kept = _kept(result["steps"])
    return [*sections, kept] if kept else sections


def _there(result: dict[str, Any]) -> bool:
    return {"before", "after", "speedup", "difference", "steps"} <= set(result)


def _sides(result: dict[str, Any]) -> Section:
    """Return the table of the model before and after."""
    before, after = result["before"], result["after"]
    rows: list[tuple[Cell, ...]] = [
        (
            f"{part} {label}",
            _interval(before["metrics"][part][label]),
            _interval(entry),
            _change(result["difference"][part][label]),
        )
        for part, entries in after["metrics"].items()
        for label, entry in entries.items()
    ]
    for key, name, shown in _SIZES:
        ratio = before[key] / max(1, after[key])
        rows.append((name, shown(before[key]), shown(after[key]), f"{ratio:.2f}× fewer"))
    for runtime, batches in result["speedup"].items():
        for batch, found in batches.items():
            ms = [side["latency_by_runtime_ms"][runtime][batch] for side in (before, after)]
            rows.append((f"{runtime}, batch {batch}, ms", *map(_ms, ms), _speed(found)))
    for batch, found in (result.get("int8") or {}).get("latency", {}).items():
        ms = before["latency_by_runtime_ms"].get("eager", {}).get(batch)
        name = f"int8 in onnxruntime, batch {batch}, ms (before: eager)"
        rows.append((name, _ms(ms), _ms(found["ms"]), _speed(found["over_before_eager"])))
    threads = f"{result['threads']} thread{'s' if result['threads'] > 1 else ''}"
    note = (
        "Both models on the same examples; differences are paired. Both were timed in turns "
        f"on {threads}; faster or slower stands only where the turns agree."
    )
    return Section(
        "Before and after", (Table(("", "Before", "After", "Change"), tuple(rows)),), note
    )


def _sweep(points: Sequence[dict[str, Any]]) -> Section:
    """Return the pictures and the table of a sweep."""
    part = reported_part({k.partition("_")[0]: True for k in points[0] if k.endswith("_low")})
    label = next(
        k.removeprefix("validation_").removesuffix("_low")
        for k in points[0]
        if k.startswith("validation_") and k.endswith("_low")
    )
    costs = (
        ("macs", "MACs of an example"),
        ("bytes", "bytes of parameters"),
        ("ms_1", "ms of a call of 1, eager"),
        ("ms_128", "ms of a call of 128, eager"),
    )
    blocks: list[Block] = [
        _trade_off(points, cost, name, label) for cost, name in costs if cost in points[0]
    ]
    rows = tuple(
        (
            p["point"] + (" (picked)" if p["picked"] else ""),
            p["macs"],
            p["parameters"],
            _estimate(p, f"validation_{label}"),
            _estimate(p, f"{part}_{label}"),
            f"{p['speedup_1']:.2f}×",
            f"{p['speedup_128']:.2f}×",
        )
        for p in points
    )
    heads = ("Point", "MACs", "Parameters", f"validation {label}", f"{part} {label}")
    speeds = ("Speed, batch 1", "Speed, batch 128")
    picked = next((k for k, p in enumerate(points) if p["picked"]), None)
    blocks.append(Table((*heads, *speeds), rows, caption="All: points.csv.", highlight=picked))
    note = (
        "Every point is a model of its own in points/. On the front nothing is cheaper without "
        "losing more on the validation part, by which the pick was made."
    )
    return Section("Sizes that were tried", tuple(blocks), note)


_ENDS = ("", "_low", "_high")


def _trade_off(points: Sequence[dict[str, Any]], cost: str, name: str, label: str) -> TradeOff:
    x = tuple(float(p[cost]) for p in points)
    y, low, high = (
        tuple(_number(p[f"validation_{label}{end}"]) for p in points) for end in _ENDS
    )
    up = all(
        (a["drop"] <= b["drop"]) == (a[f"validation_{label}"] >= b[f"validation_{label}"])
        for a in points
        for b in points
    )
    front = tuple(
        i
        for i, own in enumerate(points)
        if not any(
            x[j] <= x[i]
            and other["drop"] <= own["drop"]
            and (x[j] < x[i] or other["drop"] < own["drop"])
            for j, other in enumerate(points)
        )
    )
    return TradeOff(
        f"{label} against {name}",
        x,
        y,
        front,
        y_direction="maximize" if up else "minimize",
        x_label=name,
        y_label=f"validation {label}",
        log_x=cost in {"macs", "bytes"} and min(x) > 0,
        y_low=low,
        y_high=high,
        of="points",
    )


def _budget(points: Sequence[dict[str, Any]]) -> Section:
    """Return the table of the sizes that a budget was looked for with."""
    size = next(iter(points[0]))
    rows = tuple(
        (p[size], p["drop"], p.get("bound"), "yes" if p["within"] else "no") for p in points
    )
    picked = next((k for k, p in enumerate(points) if p.get("picked")), None)
    heads = (f"{size} aimed at", "Lost on validation", "At most, with confidence", "Within")
    return Section("Sizes that were tried", (Table(heads, rows, highlight=picked),))


def _kept(steps: Sequence[dict[str, Any]]) -> Section | None:
    """Return what each layer keeps: of units, of rank, of its weights; None where nothing."""
    blocks: list[Block] = []
    for step in steps:
        title = " · ".join(filter(None, (step.get("member"), step["kind"])))
        units = step.get("units") or {}
        if units:
            blocks.append(_widths(title, units))
        sparse = step.get("layers")
        if isinstance(sparse, dict):
            rows = tuple((name, f"{share:.1%}") for name, share in sparse.items())
            blocks.append(Table(("Weights", "Zero"), rows, title=title))
        if step.get("ranks"):
            ranks = tuple(step["ranks"].items())
            blocks.append(Table(("Layer", "Rank"), ranks, title=title))
        whole = [(", ".join(p["layers"]), p["reason"]) for p in step.get("left_whole", ())]
        if whole:
            head = ("Left whole", "Why")
            blocks.append(Table(head, tuple(whole), title=title))
    return Section("What each layer keeps", tuple(blocks)) if blocks else None


def _widths(title: str, units: dict[str, list[int]]) -> Block:
    """Return the widths before and after, as a picture unless there are very many."""
    names = tuple(units)
    if len(names) > _WIDEST:
        rows = tuple((name, left, whole) for name, (left, whole) in units.items())
        return Table(("Layer and those tied to it", "Units left", "Before"), rows, title=title)
    labels = tuple(f"{name}: {left} of {whole}" for name, (left, whole) in units.items())
    shares = tuple(left / whole for left, whole in units.values())
    return Bars(
        f"Units left, {title}",
        labels,
        (BarSeries("share left", shares),),
        "share of the units that is left",
        "Layers that are tied together, such as those of a residual stage, stand under the "
        "first one's name.",
    )


def _interval(entry: dict[str, Any]) -> str:
    return numbers.estimate(entry["value"], entry["low"], entry["high"])


def _change(entry: dict[str, Any]) -> str:
    value, low, high = (entry.get(key) for key in ("value", "low", "high"))
    if value is None:
        return "–"
    span = "" if low is None or high is None else f" [{low:+.3g}, {high:+.3g}]"
    return f"{value:+.3g}{span}"


def _ms(value: float | None) -> str:
    return numbers.significant(value)


def _speed(found: dict[str, Any]) -> str:
    span = f"[{found['low']:.2f}, {found['high']:.2f}]"
    return f"{found['value']:.2f}× {span}, {found['verdict']}"


def _estimate(point: dict[str, Any], name: str) -> str:
    value, low, high = (point.get(f"{name}{end}") for end in _ENDS)
    return numbers.estimate(value, low, high)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
