"""The head of a report: what was run, how it stands, and the numbers to know first."""

from __future__ import annotations

from typing import Any

from modelscale.commands.reporting.reading import (
    RunView,
    baselines,
    estimates,
    reported_part,
)
from modelscale.report import numbers
from modelscale.report.content import Estimate, Section, Stat, Table

_MOST_TILES = 4


def title_of(view: RunView) -> str:
    """Return the page's title."""
    return view.name


def subtitle_of(view: RunView) -> str:
    """Return in a line what was run and how it stands."""
    settings = view.settings
    source = settings.get("data.source.name") or settings.get("data.source.kind")
    model = settings.get("model.kind")
    what = f"{model} on {source}" if model and source else ""
    return " · ".join(filter(None, (view.verb, what, view.record.run, view.status)))


def state_of(view: RunView) -> str:
    """Return in a sentence why the report is partial; empty for a finished run."""
    epochs = view.settings.get("train.epochs")
    last = max((line.get("epoch") or 0 for line in view.lines), default=0)
    far = f"{len(view.trials):,} trials begun" if view.verb == "tune" else "nothing measured"
    if last:
        far = f"epoch {last:,} of {epochs:,} reached" if epochs else f"epoch {last:,} reached"
    error = str(view.result.get("error", ""))
    again = "Run the same command again to go on."
    sentences = {
        "done": "",
        "created": "Partial report: the run has not begun.",
        "running": f"Partial report: the run is still going on, {far}.",
        "interrupted": f"Partial report: the run was interrupted, {far}. {again}",
        "failed": f"Partial report: the run ended with an error, {far}. {again}",
        "diverged": f"Partial report: the run diverged, {far}. {error}".strip(),
    }
    return sentences.get(view.status, f"Partial report: the run is {view.status}.")


def warnings_of(view: RunView) -> tuple[str, ...]:
    """Return what a reader must know first."""
    told = [state_of(view), *view.faults]
    if not view.record.exact_resume:
        told.append(
            "Resumed under other conditions, so not bit-identical to an undisturbed run: "
            + "; ".join(change for a in view.record.attempts for change in a.changes)
        )
    lost = [m.get("label", "?") for m in view.members if m.get("ending") == "diverged"]
    if lost:
        told.append(f"Diverged, and not in the results: {', '.join(lost)}.")
    told += [str(warning) for warning in view.result.get("warnings", ())]
    return tuple(dict.fromkeys(filter(None, told)))


def stats_of(view: RunView, rows: dict[str, int]) -> tuple[Stat, ...]:
    """Return the tiles: metrics of the test part, the model's size and cost, the time taken.

    Args:
        view: The run.
        rows: Examples by part, as far as they are known.
    """
    found, plain = estimates(view.result), baselines(view.result)
    part = reported_part(found)
    tiles: list[Stat] = []
    if part is not None:
        members = sum("metrics" in member for member in view.members)
        basis = _basis(members, rows.get(part))
        tiles += [
            metric_tile(f"{part} {label}", value, plain.get(part, {}).get(label), basis, n == 0)
            for n, (label, value) in enumerate(list(found[part].items())[:_MOST_TILES])
        ]
    work = "Search" if view.verb == "tune" else "Training"
    return (*tiles, *size_tiles(view.result, work))


def metric_tile(
    label: str, value: Estimate, baseline: float | None, basis: str, lead: bool = False
) -> Stat:
    """Return the tile of a metric, beside what the constant answer gets."""
    decimals = numbers.decimals_of_interval(value.low, value.high)
    if decimals is None or value.low is None or value.high is None:
        text, interval = numbers.significant(value.value), ""
    else:
        text = numbers.fixed(value.value, decimals)
        ends = (numbers.fixed(value.low, decimals), numbers.fixed(value.high, decimals))
        interval = f"[{ends[0]}, {ends[1]}]"
    constant = "" if baseline is None else f"constant answer {numbers.significant(baseline, 3)}"
    note = " · ".join(filter(None, (constant, basis)))
    return Stat(label[:1].upper() + label[1:], text, interval, note, lead)


def size_tiles(result: dict[str, Any], work: str) -> tuple[Stat, ...]:
    """Return the tiles of the model's size and cost, and of the time that `work` took."""
    model = result.get("model") or {}
    tiles = []
    if model.get("parameters") is not None:
        note = numbers.size(model["bytes"]) if model.get("bytes") is not None else ""
        tiles.append(Stat("Parameters", numbers.count(model["parameters"]), note=note))
    if model.get("macs") is not None:
        tiles.append(Stat("MACs", numbers.si(model["macs"]), note="an example"))
    if result.get("seconds") is not None:
        tiles.append(Stat(f"{work} time", numbers.duration(result["seconds"])))
    return tuple(tiles)


def metrics_section(view: RunView, rows: dict[str, int]) -> Section:
    """Return the table of all metrics of all parts, with the baseline."""
    found, plain = estimates(view.result), baselines(view.result)
    table = Table(
        ("Part", "Metric", "Value [interval]", "Constant answer"),
        tuple(
            (
                part,
                label,
                # As text: metrics of different units share no decimals
                numbers.estimate(value.value, value.low, value.high),
                numbers.significant(plain.get(part, {}).get(label), 3),
            )
            for part, metrics in found.items()
            for label, value in metrics.items()
        ),
        caption="The constant answer is the best one that looks at no input: the class shares "
        "or the mean of the training part, of a ranking the items with most training rows.",
    )
    measured = [member for member in view.members if "metrics" in member]
    confidence = view.settings.get("evaluate.confidence", 0.95)
    note = interval_note(len(measured), _folds(view), rows, confidence)
    return Section("Results", (table,), note)


def interval_note(members: int, folds: int, rows: dict[str, int], confidence: float) -> str:
    """Return in a sentence what the intervals mean."""
    if members > 1 and folds > 1:
        return (
            f"Mean over {members} members with the 95 % Student t interval over them. Folds "
            "share most of their training rows, so the true spread is somewhat larger."
        )
    if members > 1:
        return (
            f"Mean over {members} seeds with the 95 % Student t interval over seeds: what "
            "another seed would change, on these same examples."
        )
    sizes = ", ".join(f"{part} {n:,}" for part, n in rows.items() if part != "train")
    return (
        f"{numbers.plain(100 * confidence)} % intervals are over the choice of examples "
        "(bootstrap; Wilson's for shares of right answers), of one trained model"
        + (f": {sizes} examples." if sizes else ".")
    )


def generated_from(view: RunView) -> tuple[str, ...]:
    """Return the lines at the foot: run, command line, versions."""
    facts = view.record.facts
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    lines = (f"run {view.name}/{view.record.run}", " ".join(view.record.command), versions)
    return tuple(filter(None, lines))


def _basis(members: int, rows: int | None) -> str:
    if members > 1:
        return f"{members} members"
    return f"{rows:,} examples" if rows else ""


def _folds(view: RunView) -> int:
    return len({member.get("fold") for member in view.members})
