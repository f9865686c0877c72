"""`modelscale init`: write a spec to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import AsJson, Quiet

_EXAMPLES = """Examples:

  modelscale init my.yaml

  modelscale init search.yaml --template tune

  modelscale init loans.yaml --data loans.csv --target paid_back
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init", epilog=_EXAMPLES)(init)


def init(
    file: Annotated[Path, typer.Argument(help="The spec to write.")] = Path("experiment.yaml"),
    template: Annotated[
        str, typer.Option("--template", help="digits, table, regression or tune.")
    ] = "digits",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Your table or folder of classes, to write the spec for."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Column to learn, where --data is a table.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a spec to start from, and its schema for editors beside it.

    An existing file is never overwritten (exit code 73).
    """
    from modelscale.commands.init import Written, write_starter

    console = Console(as_json, quiet)

    def show(result: Written) -> None:
        console.data(str(result.spec))
        console.note(f"next: {result.command}")

    run_command("init", console, lambda: write_starter(file, template, data, target), show)
