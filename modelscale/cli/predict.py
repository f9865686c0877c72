"""`modelscale predict`: a trained model's answers for a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import (
    RUNS,
    AsJson,
    Checkpoint,
    Device,
    Plugins,
    Quiet,
    RunsRoot,
    Threads,
    allow,
)

_EXAMPLES = """Examples:

  modelscale predict runs/houses --data new.csv --output predictions.csv

  modelscale predict runs/houses --data new.parquet > predictions.csv

Exit codes: 65 the data or checkpoint is damaged or does not fit, 66 it is missing, 73 the
output exists or cannot be created, 74 the disk is full.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", epilog=_EXAMPLES)(predict)


def predict(
    checkpoint: Checkpoint,
    data: Annotated[str, typer.Option("--data", help="The examples; a target is not needed.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A .csv, .jsonl or .parquet file; - writes CSV to the standard output.",
        ),
    ] = Path("-"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output.")] = False,
    runs: RunsRoot = RUNS,
    device: Device = None,
    threads: Threads = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a trained model's answers for all rows of a file."""
    from modelscale.commands import predict as command
    from modelscale.commands.trained_model import open_model
    from modelscale.errors import UsageError

    console = Console(as_json, quiet)
    file = None if str(output) == "-" else output

    def work() -> command.Predicted:
        allow(plugin)
        if file is not None:
            command.check_output(file, force=force)
        elif as_json:
            raise UsageError("--json takes the standard output; give --output FILE")
        trained = open_model(checkpoint, runs, device or "auto", threads, console)
        return command.predict(trained, data, file, console.data)

    def show(result: command.Predicted) -> None:
        if file is not None:
            console.note(f"{file}: {result.document['data']['rows']:,} rows")

    run_command("predict", console, work, show)
