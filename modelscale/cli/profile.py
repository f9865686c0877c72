"""`modelscale profile`: what a trained model weighs and costs."""

from __future__ import annotations

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

  modelscale profile runs/digits-mlp

  modelscale profile runs/digits-mlp --batch-sizes 1,256 --threads 1 --json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profile", epilog=_EXAMPLES)(profile)


def profile(
    checkpoint: Checkpoint,
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", metavar="N,N,…", help="Examples in a call.")
    ] = "1,8,32,128",
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, help="Measured for each batch size.")
    ] = 1.0,
    runs: RunsRoot = RUNS,
    device: Device = None,
    threads: Threads = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Count parameters and operations; measure latency, throughput and memory."""
    from modelscale.commands import profile as command
    from modelscale.commands.trained_model import open_model

    console = Console(as_json, quiet)

    def work() -> command.Profiled:
        allow(plugin)
        sizes = command.sizes_of(batch_sizes)
        trained = open_model(checkpoint, runs, device or "auto", threads, console)
        return command.profile(trained, sizes, seconds)

    def show(result: command.Profiled) -> None:
        from modelscale.cli.results import show_profiled

        show_profiled(result, console)

    run_command("profile", console, work, show)
