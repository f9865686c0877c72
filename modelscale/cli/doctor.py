"""`modelscale doctor`: this installation, or a search whose derived files are to be rebuilt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import RUNS, AsJson, Plugins, RunsRoot, allow

if TYPE_CHECKING:
    from modelscale.commands.doctor import Diagnosis
    from modelscale.commands.repair import Repaired

_EXAMPLES = """Examples:

  modelscale doctor

  modelscale doctor --runs /scratch/runs --json

  modelscale doctor --repair digits-tune

Repairing never changes a trial's folder. Exit codes: 3 something is bad, 65 a trial or the
winner's files are damaged and were left alone, 75 another process works on the run.
"""

Repair = Annotated[
    Path | None,
    typer.Option(
        "--repair",
        metavar="RUN",
        help="Rebuild a search's study.db and trials.csv from its trial folders.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog=_EXAMPLES)(doctor)


def doctor(
    repair: Repair = None,
    runs: RunsRoot = RUNS,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Check this installation: versions, devices, extras, disk, locks; or repair a search.

    Exit code 3 if something is bad; a missing extra or CUDA device is not.
    """
    console = Console(as_json)
    if repair is None:
        _examine(runs, console)
    else:
        _repair(repair, runs, plugin, console)


def _examine(runs: Path, console: Console) -> None:
    from modelscale.commands.doctor import examine

    def show(result: Diagnosis) -> None:
        rows = [(found.verdict, found.what, found.detail) for found in result.findings]
        console.table(("", "what", "found"), rows)

    run_command("doctor", console, lambda: examine(runs), show)


def _repair(run: Path, runs: Path, plugin: list[str] | None, console: Console) -> None:
    from modelscale.commands.repair import repair

    def work() -> Repaired:
        allow(plugin)
        result = repair(run, runs)
        console.note(f"{result.run}: {result.trials:,} trials")
        for fault in result.damaged:
            console.error(fault)
        return result

    def show(result: Repaired) -> None:
        told = {"rebuilt": result.rebuilt, "agrees with the trials": result.checked}
        console.table(
            ("", "what"), [(verdict, what) for verdict, all_ in told.items() for what in all_]
        )

    run_command("doctor", console, work, show)
