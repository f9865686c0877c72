"""What an ensemble is worth: its gain over its members, beside what it costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelscale.commands.reporting.reading import RunView, reported_part
from modelscale.report import numbers
from modelscale.report.charts import Curves, Series
from modelscale.report.content import (
    Block,
    Cell,
    Estimate,
    KeyValues,
    Paragraph,
    Section,
    Table,
)

_DIVERSITY = {
    "disagreement": "Disagreement of two members",
    "error_correlation": "Correlation of their errors",
    "ambiguity": "What averaging gains by it",
}
_MOST_METRICS = 3  # columns of the members' table


def ensemble_sections(view: RunView) -> tuple[Section, ...]:
    """Return the sections of an ensemble's page; none before its end."""
    part = reported_part(_mapping(view.result.get("comparison")))
    found = (
        _worth(view.result, part),
        _curve(view.result, part),
        _members(view.result, part),
        _diversity(view.result, part),
        _calibration(view.result),
        _costs(view.result),
        _distilled(view.result),
    )
    return tuple(section for section in found if section is not None)


def _worth(result: Mapping[str, Any], part: str | None) -> Section | None:
    if part is None:
        return None
    rows: list[tuple[Cell, ...]] = []
    for label, entry in result["comparison"][part].items():
        own = _mapping(_mapping(result["metrics"].get(part)).get(label)).get("value")
        rows.append(
            (
                label,
                numbers.significant(own),
                numbers.significant(entry["best_member"]),
                _difference(entry["over_best"]),
                numbers.significant(entry["mean_member"]),
                _difference(entry["over_mean"]),
            )
        )
    best = result.get("best_member")
    blocks: list[Block] = []
    verdict = str(result.get("verdict") or "")
    if verdict:
        blocks.append(Paragraph(f"{verdict[:1].upper()}{verdict[1:]}."))
    blocks.append(
        Table(
            ("Metric", "Ensemble", "Best member", "Difference", "Mean member", "Difference"),
            tuple(rows),
            caption=f"The best member is {best}, the best on the rows that decide. Differences "
            "are paired: 95 % intervals over the choice of rows, the same for both.",
        )
    )
    bag = _mapping(result.get("out_of_bag"))
    if bag:
        blocks.append(_estimated(bag, result, part))
    return Section(f"What the ensemble is worth, {part} part", tuple(blocks))


def _estimated(bag: Mapping[str, Any], result: Mapping[str, Any], part: str) -> Table:
    """Return the out-of-bag estimate beside what was measured."""
    measured = _mapping(result["metrics"].get(part))
    rows = tuple(
        (label, _interval(entry), _interval(_mapping(measured.get(label))))
        for label, entry in _mapping(bag.get("metrics")).items()
    )
    return Table(
        ("Metric", f"Out of bag, {bag.get('rows'):,} rows", f"{part} part"),
        rows,
        title="Out-of-bag estimate",
        caption="Each training row is answered by the members that never drew it.",
    )


def _curve(result: Mapping[str, Any], part: str | None) -> Section | None:
    points = _mapping(result.get("curve")).get(part) if part else None
    if not isinstance(points, list) or len(points) < 2:
        return None
    x = tuple(float(point["members"]) for point in points)
    blocks = []
    for label in [key for key in points[0] if key != "members"]:
        values = tuple(float("nan") if p[label] is None else float(p[label]) for p in points)
        line = Series("first members", x, values)
        single = result["comparison"][part].get(label, {}).get("best_member")
        lines: tuple[Series, ...] = (line,)
        if single is not None:
            ends = (x[0], x[-1])
            lines = (line, Series("best single member", ends, (float(single),) * 2))
        blocks.append(
            Curves(f"{label} by members", lines, "members", f"{part} {label}", log_x=True)
        )
    return Section(
        "Gain by members",
        tuple(blocks),
        "What the first 1, 2, 4, … members are worth: means over random orders; for greedy "
        "selection in the order of choice, for boosting in that of the rounds. No temperature.",
    )


def _members(result: Mapping[str, Any], part: str | None) -> Section | None:
    members = [m for m in result.get("members") or () if isinstance(m, dict)]
    if not members:
        return None
    first = _mapping(_mapping(members[0].get("metrics")).get(part or ""))
    labels = list(first)[:_MOST_METRICS] + [
        name for name in list(first)[_MOST_METRICS:] if name in {"log_loss", "rmse"}
    ]
    rows: list[tuple[Cell, ...]] = []
    for member in members:
        own = _mapping(_mapping(member.get("metrics")).get(part or ""))
        rows.append(
            (
                str(member.get("label")),
                _setting(member.get("params")),
                member.get("weight"),
                member.get("score"),
                *(own.get(label) for label in labels),
            )
        )
    best = [n for n, m in enumerate(members) if m.get("label") == result.get("best_member")]
    selection, method = _mapping(result.get("selection")), _mapping(result.get("method"))
    judged = f"Score: on {selection.get('rows') or 0:,} rows ({selection.get('origin')})"
    each = f"; each member is {method['folds']} models" if method.get("folds") else ""
    table = Table(
        ("Member", "Differs in", "Weight", "Score", *(f"{part} {label}" for label in labels)),
        tuple(rows),
        caption=f"{judged}, larger is better{each}. Highlighted: the best of them.",
        highlight=best[0] if best else None,
    )
    return Section("Members", (table,))


def _diversity(result: Mapping[str, Any], part: str | None) -> Section | None:
    found = _mapping(_mapping(result.get("diversity")).get(part or ""))
    items = tuple(
        (text, numbers.significant(found[key], 3))
        for key, text in _DIVERSITY.items()
        if found.get(key) is not None
    )
    if not items:
        return None
    return Section(
        "Diversity",
        (KeyValues(items),),
        "Members that err on the same rows have little to give to each other. Disagreement is "
        "the share of rows put into different classes, or the mean distance of two answers in "
        "deviations of the target; the gain is in log-loss or squared error.",
    )


def _calibration(result: Mapping[str, Any]) -> Section | None:
    found = _mapping(result.get("calibration"))
    if not found:
        return None
    rows = [
        (
            part,
            label,
            numbers.significant(own["before"]),
            numbers.significant(own["after"]),
        )
        for part, values in found.items()
        if isinstance(values, dict)
        for label, own in values.items()
    ]
    chosen = float(found["temperature"])
    text = (
        f"A temperature of {numbers.significant(chosen, 3)} was fitted on rows that the "
        f"members had not learnt from ({found['fitted_on']})."
        if chosen != 1
        else f"No temperature: the one fitted ({numbers.significant(found['fitted'], 3)}, "
        f"{found['fitted_on']}) differs from 1 by no more than chance."
    )
    table = Table(("Part", "Metric", "Before", "After"), tuple(rows))
    return Section("Calibration", (Paragraph(text), table))


def _costs(result: Mapping[str, Any]) -> Section | None:
    cost = _mapping(result.get("cost"))
    both = [(who, _mapping(cost.get(who))) for who in ("ensemble", "member")]
    if not all(facts for _, facts in both):
        return None
    batches = list(both[0][1]["latency_ms"])
    rows = tuple(
        (
            who,
            numbers.count(facts["parameters"]),
            numbers.si(facts["macs"], "MAC"),
            numbers.size(facts["bytes"]),
            *(numbers.significant(facts["latency_ms"].get(batch), 3) for batch in batches),
            numbers.duration(facts["seconds"]) if "seconds" in facts else "–",
        )
        for who, facts in both
    )
    heads = ("Parameters", "An example", "Size", *(f"ms, batch {b}" for b in batches))
    return Section(
        "Cost",
        (Table(("", *heads, "Training"), rows),),
        "The ensemble answers in one batched pass. A member's training time is its measured "
        "step times its steps.",
    )


def _distilled(result: Mapping[str, Any]) -> Section | None:
    keeps = _mapping(_mapping(result.get("distilled")).get("keeps"))
    if not keeps:
        return None
    rows = tuple(
        (
            label,
            numbers.significant(entry["value"]),
            numbers.significant(entry["ensemble"]),
            numbers.significant(entry["best_member"]),
            "–" if entry["kept"] is None else numbers.percent(entry["kept"]),
        )
        for label, entry in keeps.items()
    )
    heads = ("Metric", "One model", "Ensemble", "Best member", "Gain kept")
    return Section(
        "Back to one model",
        (Table(heads, rows),),
        "One model of the spec that was trained on the ensemble's answers.",
    )


def _setting(params: Any) -> str:
    if not isinstance(params, dict) or not params:
        return "seed"
    return ", ".join(f"{key}: {_short(value)}" for key, value in params.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return numbers.significant(value, 3)
    return value if isinstance(value, str) else json.dumps(value).replace('"', "")


def _difference(entry: Mapping[str, Any]) -> str:
    value = float(entry["value"])
    text = numbers.estimate(entry["value"], entry["low"], entry["high"])
    return f"+{text}" if value > 0 else text


def _interval(entry: Mapping[str, Any]) -> Estimate:
    return Estimate(entry.get("value"), entry.get("low"), entry.get("high"))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
