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
    Beam,
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

  modelscale predict loans --data new.csv --threshold validation

  modelscale predict loans --data new.csv --keep account -o answers.csv

  modelscale predict films --data users.csv --top-k 10

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
    threshold: Annotated[
        str | None,
        typer.Option(
            "--threshold",
            metavar="P|costs|validation",
            help="Decide for the second of two classes above this probability.",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="COLUMN", help="A column of the file to write beside."),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", min=1, help="For each user of the file, the best items."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output.")] = False,
    beam: Beam = None,
    runs: RunsRoot = RUNS,
    device: Device = None,
    threads: Threads = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a trained model's answers for all rows of a file."""
    from modelscale.commands import item_lists
    from modelscale.commands import predict as command
    from modelscale.commands.trained_model import open_model, with_beam
    from modelscale.errors import UsageError

    console = Console(as_json, quiet)
    file = None if str(output) == "-" else output

    def work() -> command.Predicted:
        allow(plugin)
        if file is not None:
            command.check_output(file, force=force)
        elif as_json:
            raise UsageError("--json takes the standard output; give --output FILE")
        if top_k is not None and threshold is not None:
            raise UsageError("--threshold and --top-k: give one of them")
        if top_k is not None and keep:
            raise UsageError(
                "--keep and --top-k: lists name their users and items by themselves"
            )
        opened = open_model(checkpoint, runs, device or "auto", threads, console)
        trained = with_beam(opened, beam)
        if top_k is not None:
            found = item_lists.recommend(trained, data, top_k, file, console.data)
            return command.Predicted(found)
        return command.predict(
            trained, data, file, console.data, decide=threshold, keep=keep or ()
        )

    def show(result: command.Predicted) -> None:
        if file is not None:
            console.note(f"{file}: {result.document['data']['rows']:,} rows")

    run_command("predict", console, work, show)
