"""Where a run's numbers come from: data, settings, versions, machine."""

from __future__ import annotations

from modelscale.commands.reporting.reading import RunView
from modelscale.commands.reporting.rereading import Reread
from modelscale.report import numbers
from modelscale.report.content import Block, Code, KeyValues, Paragraph, Section, Table


def data_section(view: RunView, reread: Reread, rows: dict[str, int]) -> Section:
    """Return the data's origin and how it was divided."""
    settings = view.settings
    facts = [
        ("origin", reread.origin or settings.get("data.source.name")),
        ("source", settings.get("data.source.kind")),
        ("fingerprint (SHA-256)", view.record.facts.data_fingerprint),
        ("split", settings.get("data.split.kind")),
        *[(f"{part} rows", numbers.count(n)) for part, n in rows.items()],
        ("seed of the split", settings.get("data.split.seed")),
        ("seed of weights, order and dropout", settings.get("seed")),
        ("seeds trained", settings.get("train.seeds")),
        ("seed of the intervals", settings.get("evaluate.seed")),
    ]
    known = tuple((name, value) for name, value in facts if value is not None)
    blocks: list[Block] = [KeyValues(known)]
    if reread.reason:
        blocks.append(
            Paragraph(f"The data was not read again for this report: {reread.reason}.")
        )
    if reread.folds > 1:
        blocks.append(
            Paragraph(
                f"Cross-validation in {reread.folds} rounds; row counts are of the first."
            )
        )
    return Section("Data", tuple(blocks))


def settings_section(view: RunView) -> Section:
    """Return the settings that were given, and the whole resolved spec."""
    given = Table(
        ("Setting", "Value", "Given in"),
        tuple((setting.key, setting.value, setting.origin) for setting in view.given),
        caption="Everything else has its default.",
    )
    blocks: tuple[Block, ...] = (given,) if view.given else ()
    if view.spec_text:
        blocks += (Code(view.spec_text, "Resolved spec"),)
    return Section("Settings", blocks)


def environment_section(view: RunView) -> Section:
    """Return versions, machine and history of the run."""
    record = view.record
    exact = "yes" if record.exact_resume else "no: conditions changed between attempts"
    items = [
        ("command", " ".join(record.command) or None),
        *[(name, version) for name, version in record.facts.versions.items()],
        ("device", record.facts.device),
        ("CPU threads", record.facts.threads),
        ("git commit", record.git_commit),
        ("created (UTC)", record.created),
        ("finished (UTC)", record.finished),
        ("attempts", len(record.attempts)),
        ("exact resume", exact),
        ("digest of spec and data", record.digest),
    ]
    return Section(
        "Environment", (KeyValues(tuple((k, v) for k, v in items if v is not None)),)
    )
