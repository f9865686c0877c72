"""How results look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelscale.cli.console import Console
from modelscale.report import numbers

if TYPE_CHECKING:
    from modelscale.commands.evaluate import Evaluated
    from modelscale.commands.profile import Profiled
    from modelscale.commands.train import Trained
    from modelscale.commands.tune import Tuned

_MOST_CONFUSED = 20
"""Classes up to which their confusion is printed too."""


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
    if len(document["objectives"]) > 1:
        _show_front(document, console)
    console.data("")
    show_metrics(document["metrics"], document["baseline"], console)
    if document["confirmed"]:
        _show_confirmed(document["confirmed"], console)
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


def _show_confirmed(confirmed: dict[str, dict[str, Any]], console: Console) -> None:
    """Print what the winner's setting is worth from fresh seeds."""
    console.data("")
    rows = [
        [part, label, numbers.significant(entry["value"]), _interval(entry)]
        for part, measured in confirmed.items()
        for label, entry in measured.items()
    ]
    seeds = next(iter(next(iter(confirmed.values())).values()))["members"]
    console.table([f"{seeds} fresh seeds", "metric", "mean", "95 % interval"], rows)


def _show_front(document: dict[str, Any], console: Console) -> None:
    """Print the trials that no other one beats in every objective."""
    console.data("")
    rows = [
        [str(entry["trial"]), *map(numbers.significant, entry["values"])]
        for entry in document["pareto"]
    ]
    console.table(["Pareto front: trial", *document["objectives"]], rows)


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
    if not rows:
        console.note("no validation or test part, so nothing is measured beside the loss")
        return
    console.table(["part", "metric", "value", "95 % interval", "constant answer"], rows)


def _interval(entry: dict[str, Any]) -> str:
    low, high = entry.get("low"), entry.get("high")
    if low is None or high is None:
        return "–"
    return f"{numbers.significant(low)} – {numbers.significant(high)}"


def show_evaluated(result: Evaluated, console: Console) -> None:
    """Print a model's metrics, then classes with their confusion, or residuals."""
    document = result.document
    data = document["data"]
    console.note(f"{document['checkpoint']} on {data['origin']}: {data['rows']:,} rows")
    show_metrics(document["metrics"], document["baseline"], console)
    _show_decisions(document.get("decisions"), console)
    _show_alarms(document.get("alarms"), console)
    _show_ranking(document.get("ranking"), console)
    if not document.get("classes") and not document["residuals"]:
        return
    console.data("")
    if document["task"] != "classification":
        heads = ["mean", "q05", "q25", "q50", "q75", "q95"]
        rows = [
            [entry["label"], *[numbers.significant(entry[head]) for head in heads]]
            for entry in document["residuals"]
        ]
        console.table(["prediction − target", *heads], rows)
        return
    labels = document["labels"]
    predicted = labels if document["confusion"] and len(labels) <= _MOST_CONFUSED else []
    counts = document["confusion"] if predicted else [[]] * len(labels)
    rows = [
        [
            entry["label"],
            *[numbers.significant(entry[head]) for head in ("precision", "recall", "f1")],
            str(entry["support"]),
            *map(str, row),
        ]
        for entry, row in zip(document["classes"], counts, strict=True)
    ]
    heads = ["class", "precision", "recall", "f1", "rows"]
    console.table([*heads, *[f"as {label}" for label in predicted]], rows)


def _show_decisions(decisions: dict[str, Any] | None, console: Console) -> None:
    """Print what ways to decide cost, and the thresholds behind them."""
    if decisions is None:
        return
    console.data("")
    rows = [
        [way, numbers.significant(entry["value"]), _interval(entry)]
        for way, entry in decisions["cost"].items()
    ]
    console.table(["decision", "mean cost", "95 % interval"], rows)
    if "thresholds" in decisions:
        by, calibration = decisions["thresholds"], decisions["calibration"]
        console.note(
            f"second class from a probability of {by['by_validation']:.4g} on (validation), "
            f"{by['by_costs']:.4g} by the costs alone; Brier score "
            f"{calibration['brier_before']:.4f}, calibrated {calibration['brier_after']:.4f}"
        )


def _show_alarms(alarms: dict[str, Any] | None, console: Console) -> None:
    """Print what alarms find among rows and among events."""
    if alarms is None:
        return
    console.data("")
    rows = []
    for name, there, raised in (("rows", "labelled", "alarms"), ("events", "events", "alarms")):
        if entry := alarms.get(name):
            shares = [numbers.significant(entry[key]) for key in ("precision", "recall", "f1")]
            rows.append([name, str(entry[there]), str(entry[raised]), *shares])
    console.table(["alarms", "labelled", "raised", "precision", "recall", "f1"], rows)
    console.note(
        f"alarm above a probability of {alarms['threshold']:.4g} (validation); "
        f"false-positive rate here {numbers.significant(alarms['false_positive_rate'])}"
    )


def _show_ranking(ranking: dict[str, Any] | None, console: Console) -> None:
    """Print how all items rank for users, beside the most popular ones."""
    if ranking is None:
        return
    console.data("")
    rows = [
        [
            name,
            numbers.significant(entry["value"]),
            _interval(entry),
            numbers.significant(ranking["popular"][name]["value"]),
        ]
        for name, entry in ranking["model"].items()
    ]
    heads = [f"{ranking['users']:,} users, all {ranking['items']:,} items", "value"]
    console.table([*heads, "95 % interval", "most popular"], rows)


def show_profiled(result: Profiled, console: Console) -> None:
    """Print a model's size, its speed by batch size, and its layers."""
    document = result.document
    model = document["model"]
    console.note(
        f"{document['checkpoint']}: {model['kind']}, {_size(model)}, "
        f"{numbers.size(model['file_bytes'])} on disk; {document['device']}, "
        f"{document['threads']} threads"
    )
    rows = [
        [
            str(entry["batch"]),
            *[numbers.significant(entry[head]) for head in ("median_ms", "p10_ms", "p90_ms")],
            numbers.si(entry["throughput_per_s"]),
            numbers.size(entry["peak_bytes"]),
        ]
        for entry in document["batches"]
    ]
    console.table(["batch", "median ms", "p10", "p90", "examples/s", "peak memory"], rows)
    console.data("")
    rows = [
        [
            entry["name"] or "(itself)",
            entry["kind"],
            numbers.count(entry["parameters"]),
            numbers.count(entry["macs"]),
            numbers.percent(entry["share"]),
        ]
        for entry in document["layers"]
    ]
    console.table(["layer", "kind", "parameters", "MACs", "share"], rows)
