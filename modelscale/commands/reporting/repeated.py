"""The members of a run: what another seed or another fold changed."""

from __future__ import annotations

from typing import Any

from modelscale.commands.reporting.reading import RunView, estimates, reported_part
from modelscale.report import numbers
from modelscale.report.content import Cell, Estimate, Section, Table

_MOST_INTERVALS = 3  # columns with intervals that fit on a page


def members_section(view: RunView) -> Section | None:
    """Return the table of members and their spread; None for a run with one model."""
    if len(view.members) < 2:
        return None
    part = reported_part(estimates(view.result))
    labels = list(estimates(view.result).get(part or "", {}))
    best = str(view.result.get("best_member"))
    rows = tuple(_row(member, part, labels) for member in view.members)
    chosen = [n for n, member in enumerate(view.members) if str(member.get("label")) == best]
    members = Table(
        ("Member", "Ending", "Kept epoch", *(f"{part} {label}" for label in labels)),
        rows,
        caption=f"Highlighted: {best}, the best in validation, whose model is the run's own."
        + (" Each interval is over the examples." if len(labels) <= _MOST_INTERVALS else ""),
        highlight=chosen[0] if chosen else None,
    )
    spread = Table(
        ("Metric", "Mean [95 % interval]", "Standard deviation", "Members"),
        tuple(_spread(view.result["metrics"][part], label) for label in labels if part),
        title=f"Mean and spread over members, {part} part",
        caption="The interval of the mean is Student's t over members, not a bootstrap.",
    )
    return Section("Members", (members, spread))


def _row(member: dict[str, Any], part: str | None, labels: list[str]) -> tuple[Cell, ...]:
    measured = estimates(member).get(part or "", {})
    values = [measured.get(label, Estimate(None)) for label in labels]
    wide = len(labels) > _MOST_INTERVALS
    return (
        str(member["label"]),
        str(member.get("ending", "?")),
        member.get("best_epoch"),
        *((value.value if wide else value) for value in values),
    )


def fresh_seeds_section(view: RunView) -> Section | None:
    """Return what a search's winner is worth from fresh seeds; None where nobody looked."""
    confirmed: dict[str, dict[str, Any]] = view.result.get("confirmed") or {}
    if not confirmed:
        return None
    tables = tuple(
        Table(
            ("Metric", "Mean [95 % interval]", "Standard deviation", "Seeds"),
            tuple(_spread(measured, label) for label in measured),
            title=f"{part[:1].upper()}{part[1:]} part",
        )
        for part, measured in confirmed.items()
    )
    return Section(
        "The winner from fresh seeds",
        tables,
        "The winner's settings, trained again from seeds that no trial had: their worth "
        "apart from the luck of being chosen. Intervals are Student's t over the seeds.",
    )


def _spread(measured: dict[str, Any], label: str) -> tuple[str, ...]:
    """Return a row as text: metrics of different units share no decimals."""
    entry = measured[label]
    return (
        label,
        numbers.estimate(entry.get("value"), entry.get("low"), entry.get("high")),
        numbers.significant(entry.get("std"), 2),
        numbers.count(entry.get("members")),
    )
