"""`modelscale report`: one HTML page about a run, or a comparison of several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import RUNS, AsJson, Quiet, RunsRoot

if TYPE_CHECKING:
    from modelscale.commands.report import Reported

_EXAMPLES = """Examples:

  modelscale report digits-mlp

  modelscale report runs/digits-mlp/20260102-030405-0a1b2c --output digits.html

  modelscale report digits-mlp digits-linear --output comparison.html

A run that is not finished has a partial report, which says so.
"""

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders or names.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="The page; by default report.html in the run, or comparison.html in --runs.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", epilog=_EXAMPLES)(report)


def report(
    which: Runs,
    output: Output = None,
    runs: RunsRoot = RUNS,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write one self-contained HTML page about a run, or a comparison of several."""
    from modelscale.commands import report as commands

    console = Console(as_json, quiet)

    def work() -> Reported:
        written = commands.report(which, runs, output)
        for note in written.notes:
            console.warn(note)
        return written

    run_command(
        "report",
        console,
        work,
        lambda result: console.data(result.to_json()["report"]),
    )
