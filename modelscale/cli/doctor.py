"""`modelscale doctor`: check this installation."""

from __future__ import annotations

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import RUNS, AsJson, RunsRoot

_EXAMPLES = """Examples:

  modelscale doctor

  modelscale doctor --runs /scratch/runs --json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog=_EXAMPLES)(doctor)


def doctor(runs: RunsRoot = RUNS, as_json: AsJson = False) -> None:
    """Check this installation: versions, devices, extras, disk, locks.

    Exit code 3 if something is bad; a missing extra or CUDA device is not.
    """
    from modelscale.commands.doctor import Diagnosis, examine

    console = Console(as_json)

    def show(result: Diagnosis) -> None:
        rows = [(found.verdict, found.what, found.detail) for found in result.findings]
        console.table(("", "what", "found"), rows)

    run_command("doctor", console, lambda: examine(runs), show)
