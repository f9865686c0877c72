"""How results look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelscale.cli.console import Console
from modelscale.report import numbers

if TYPE_CHECKING:
    from modelscale.commands.train import Trained
    from modelscale.commands.tune import Tuned


def show_trained(result: Trained, console: Console) -> None:
    """Print the measurements of a training run beside the plainest of answers."""
    document = result.document
    show_metrics(document["metrics"], document["baseline"], console)
    console.note(_size(document["model"]) + _several(document["members"], document["seconds"]))
    console.note(f"{result.run}")
    console.note(f"next: modelscale report {result.run}")


def show_tuned(result: Tuned, console: Console) -> None:
    """Print how a search went and what its winner is worth."""
    document = result.document
    trials, best = document["trials"], document["best"]
    counts = ", ".join(f"{n} {state}" for state, n in trials.items() if n and state != "total")
    console.note(f"{trials['total']} trials: {counts}")
    rows = [[key, _text(value)] for key, value in best["params"].items()]
    console.table(
        [f"best trial {best['trial']}", f"{document['objective']} {best['value']:.5g}"], rows
    )
    console.data("")
    show_metrics(document["metrics"], document["baseline"], console)
    console.note(
        f"{_size(document['model'])}, searched in {numbers.duration(document['seconds'])}"
    )
    console.note(f"{result.run}: best.yaml is ready for `modelscale train`")
    console.note(f"next: modelscale report {result.run}")


def _size(facts: dict[str, int]) -> str:
    return (
        f"{numbers.count(facts['parameters'])} parameters, "
        f"{numbers.si(facts['macs'], 'MAC')} an example, {numbers.size(facts['bytes'])}"
    )


def _several(members: list[dict[str, Any]], seconds: float) -> str:
    count = f", {len(members)} members" if len(members) > 1 else ""
    return f"{count}, trained in {numbers.duration(seconds)}"


def _text(value: Any) -> str:
    return numbers.significant(value) if isinstance(value, float) else str(value)


def show_metrics(
    metrics: dict[str, dict[str, Any]], baseline: dict[str, dict[str, Any]], console: Console
) -> None:
    """Print one row a part and metric: value, interval, and what the constant answer gets."""
    rows = [
        [
            part,
            label,
            numbers.significant(entry["value"]),
            _interval(entry),
            numbers.significant(baseline.get(part, {}).get(label)),
        ]
        for part, measured in metrics.items()
        for label, entry in measured.items()
    ]
    console.table(["part", "metric", "value", "95 % interval", "constant answer"], rows)


def _interval(entry: dict[str, Any]) -> str:
    low, high = entry.get("low"), entry.get("high")
    if low is None or high is None:
        return "–"
    return f"{numbers.significant(low)} – {numbers.significant(high)}"
