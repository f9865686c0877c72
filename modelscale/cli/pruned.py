"""How a pruning looks on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelscale.report import numbers

if TYPE_CHECKING:
    from modelscale.cli.console import Console
    from modelscale.commands.prune import Pruned


def show_pruned(result: Pruned, console: Console) -> None:
    """Print the model before and after: metrics, size, and measured latency."""
    document = result.document
    before, after = document["before"], document["after"]
    rows = [
        [
            f"{part} {label}",
            _with_interval(before["metrics"][part][label]),
            _with_interval(entry),
            _difference(document["difference"][part][label]),
        ]
        for part, measured in after["metrics"].items()
        for label, entry in measured.items()
    ]
    rows += [
        _size_row("parameters", before["parameters"], after["parameters"], numbers.count),
        _size_row("MACs an example", before["macs"], after["macs"], numbers.count),
        _size_row("bytes of parameters", before["bytes"], after["bytes"], numbers.size),
        _size_row("bytes on disk", before["file_bytes"], after["file_bytes"], numbers.size),
    ]
    for runtime, batches in document["speedup"].items():
        for batch, found in batches.items():
            rows.append(
                [
                    f"{runtime}, batch {batch}, ms",
                    numbers.significant(before["latency_by_runtime_ms"][runtime][batch]),
                    numbers.significant(after["latency_by_runtime_ms"][runtime][batch]),
                    _speed(found),
                ]
            )
    console.table(["", "before", "after", "change"], rows)
    _show_int8(document, console)
    for step in document["steps"]:
        _show_points(step.get("points", []), console)
        if "promise" in step:
            (console.note if step["promise"]["bound"] is not None else console.warn)(
                step["promise"]["text"]
            )
        for place in step.get("left_whole", []):
            console.warn(f"left whole: {', '.join(place['layers'])} ({place['reason']})")
        if step.get("rewritten"):
            console.warn("the network's own code has sizes in it: its graph runs in its place")
    faster = [
        found["verdict"] == "faster"
        for batches in document["speedup"].values()
        for found in batches.values()
    ]
    (console.note if all(faster) else console.warn)(document["verdict"])
    for fault in result.faults:
        console.error(fault)
    console.note(f"{result.run}")


def _size_row(name: str, before: int, after: int, shown: Any) -> list[str]:
    ratio = before / after if after else float("inf")
    change = f"{ratio:.2f}× fewer" if ratio >= 1 else f"{1 / ratio:.2f}× more"
    return [name, shown(before), shown(after), "–" if before == after else change]


def _speed(found: dict[str, Any]) -> str:
    span = f"({found['low']:.2f} – {found['high']:.2f})"
    if found["verdict"] == "within noise":
        return f"within noise {span}"
    if found["verdict"] == "slower":
        return f"slower: {found['value']:.2f}× {span}"
    return f"{found['value']:.2f}× faster {span}"


def _with_interval(entry: dict[str, Any]) -> str:
    low, high = entry.get("low"), entry.get("high")
    text = numbers.significant(entry["value"])
    if low is None or high is None:
        return text
    return f"{text} ({numbers.significant(low)} – {numbers.significant(high)})"


def _difference(entry: dict[str, Any]) -> str:
    if entry["value"] is None:
        return "–"
    low, high = entry.get("low"), entry.get("high")
    span = "" if low is None or high is None else f" ({low:+.3g} – {high:+.3g})"
    return f"{entry['value']:+.3g}{span}"


def _show_int8(document: dict[str, Any], console: Console) -> None:
    found = document.get("int8")
    if not found or "fault" in found:
        return
    console.data("")
    rows = [
        [
            f"int8, batch {batch}",
            numbers.significant(entry["ms"]),
            _speed(entry["over_float"]),
            _speed(entry["over_before_eager"]),
        ]
        for batch, entry in found["latency"].items()
    ]
    console.table(["onnxruntime", "ms", "over float", "over the first model, eager"], rows)
    for label, entry in found["metrics"].items():
        console.note(
            f"int8 {found['part']} {label}: {numbers.significant(entry['value'])} "
            f"(float {numbers.significant(entry['float'])})"
        )
    console.note(f"{found['file']}: {numbers.size(found['bytes'])}")


def _show_points(points: list[dict[str, Any]], console: Console) -> None:
    """Print what each size is worth that was tried, and which one was taken."""
    if not points:
        return
    console.data("")
    if "point" not in points[0]:  # of a budget
        size = next(iter(points[0]))
        rows = [
            [
                f"{p[size]:.4g}",
                f"{p['drop']:+.4g}",
                "–" if p["bound"] is None else f"{p['bound']:+.4g}",
                ("yes" if p["within"] else "no") + (", taken" if p["picked"] else ""),
            ]
            for p in points
        ]
        console.table([size, "lost on validation", "at most", "within"], rows)
        return
    rows = [
        [
            p["point"],
            numbers.count(p["macs"]),
            numbers.count(p["parameters"]),
            f"{p['drop']:+.4g}",
            f"{p['speedup_1']:.2f}×",
            f"{p['speedup_128']:.2f}×",
            ("front " if p["pareto"] else "") + ("picked" if p["picked"] else ""),
        ]
        for p in points
    ]
    heads = ["MACs", "parameters", "lost on validation", "eager, 1", "eager, 128", ""]
    console.table(["point", *heads], rows)
