"""`modelscale evaluate`: measure a trained model."""

from __future__ import annotations

from typing import Annotated, Literal

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

  modelscale evaluate runs/digits-mlp

  modelscale evaluate runs/digits-mlp --part validation --metrics accuracy,f1_micro --json

  modelscale evaluate runs/houses --data new.csv --gate "rmse<=55"

Exit codes: 3 a gate failed, 65 the data changed or the checkpoint is damaged, 66 no checkpoint.
"""

_Part = Annotated[
    Literal["train", "validation", "test"] | None,
    typer.Option("--part", help="Of the run's own data; by default test."),
]
_Gates = Annotated[
    list[str] | None,
    typer.Option(
        "--gate", metavar="METRIC=BOUND", help="Exit with 3 if it misses: accuracy=0.97."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", epilog=_EXAMPLES)(evaluate)


def evaluate(
    checkpoint: Checkpoint,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Another file, or a name of the catalogue."),
    ] = None,
    part: _Part = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metrics", metavar="NAMES", help="Only these: accuracy,f1_micro."),
    ] = None,
    gate: _Gates = None,
    accept_data_change: Annotated[
        bool,
        typer.Option("--accept-data-change", help="Measure although the run's data changed."),
    ] = False,
    beam: Beam = None,
    runs: RunsRoot = RUNS,
    device: Device = None,
    threads: Threads = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure a trained model, with confidence intervals, on its own or on other data."""
    from modelscale.commands import evaluate as command
    from modelscale.commands.trained_model import open_model, with_beam

    console = Console(as_json, quiet)

    def work() -> command.Evaluated:
        allow(plugin)
        opened = open_model(checkpoint, runs, device or "auto", threads, console)
        trained = with_beam(opened, beam)
        result = command.evaluate(
            trained,
            data=data,
            part=part,
            metrics=metrics or (),
            gates=gate or (),
            accept_data_change=accept_data_change,
        )
        for fault in result.faults:
            console.error(fault)
        return result

    def show(result: command.Evaluated) -> None:
        from modelscale.cli.results import show_evaluated

        show_evaluated(result, console)

    run_command("evaluate", console, work, show)
