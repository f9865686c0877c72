"""`modelscale prune`: a trained model made smaller and faster."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import (
    RUNS,
    AsJson,
    Checkpoint,
    Device,
    Name,
    New,
    Overrides,
    Plugins,
    Quiet,
    RunsRoot,
    Seed,
    Threads,
    Verbose,
    allow,
    changes,
)

if TYPE_CHECKING:
    from modelscale.commands.prune import Pruned

_EXAMPLES = """Examples:

  modelscale prune runs/digits-mlp --target macs=0.25

  modelscale prune runs/digits-mlp --max-drop 0.005 --json

  modelscale prune runs/digits-mlp --kind structured,int8 --target latency=0.5

  modelscale prune runs/digits-mlp --sweep 0.5,0.25,0.125 --criteria activation,random

  modelscale prune runs/digits-cnn --sweep 0.5,0.25 --methods structured,low_rank,int8

The same command again goes on with an interrupted run (exit code 75), or reports a finished
one. Exit codes: 3 a gate failed, 10 training again diverged, 65 bad checkpoint or other data,
66 no checkpoint, 69 an extra is missing, 75 interrupted with the state saved, 78 bad target.
"""

Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="KIND[,KIND…]",
        help="structured (default), sparse, depthwise_separable, low_rank, int8; several are "
        "done in turn.",
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="WHAT=HOW-MUCH",
        help="macs=0.25, parameters=50k, bytes=0.5 or latency=0.5: a share, or absolute.",
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        min=0.0,
        help="In place of --target: the smallest model that loses no more on validation.",
    ),
]
Criterion = Annotated[
    str | None,
    typer.Option("--criterion", help="activation, magnitude, taylor, random, …"),
]
SweepOption = Annotated[
    str | None,
    typer.Option("--sweep", metavar="SHARE,…", help="Several sizes at once: 0.5,0.25,0.125."),
]
Criteria = Annotated[
    str | None,
    typer.Option("--criteria", metavar="NAME,…", help="Several criteria at once, in a sweep."),
]
Methods = Annotated[
    str | None,
    typer.Option(
        "--methods",
        metavar="NAME,…",
        help="Ways in a sweep: structured, low_rank, depthwise_separable, sparse, int8.",
    ),
]
RuntimeOption = Annotated[
    str | None,
    typer.Option("--runtime", help="Where latency is aimed at: eager or onnxruntime."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Spec in place of that of the checkpoint's run."),
]
MaxTime = Annotated[
    str | None,
    typer.Option(
        "--max-time", metavar="30m", help="Save and stop with exit code 75 after this."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prune", epilog=_EXAMPLES)(prune)


def prune(
    checkpoint: Checkpoint,
    kind: Kind = None,
    target: TargetOption = None,
    max_drop: MaxDrop = None,
    criterion: Criterion = None,
    runtime: RuntimeOption = None,
    sweep: SweepOption = None,
    criteria: Criteria = None,
    methods: Methods = None,
    config: ConfigOption = None,
    set_: Overrides = None,
    runs: RunsRoot = RUNS,
    name: Name = None,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    max_time: MaxTime = None,
    new: New = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a trained model smaller, train it again, and measure both."""
    console = Console(as_json, quiet, verbose)

    def work() -> Pruned:
        from modelscale.cli.prune_request import Words, prune_request
        from modelscale.cli.requests import seconds_of
        from modelscale.commands.launching import Request
        from modelscale.commands.prune import prune as run_prune
        from modelscale.commands.trained_model import open_model

        allow(plugin)
        source = open_model(checkpoint, runs, "cpu", threads, console)
        words = Words(kind, target, max_drop, criterion, runtime, sweep, criteria, methods)
        asked = prune_request(
            source,
            config,
            words,
            changes(set_, name, seed, device),
            partial(
                Request,
                verb="prune",
                root=runs,
                words=("modelscale", *sys.argv[1:]),
                threads=threads,
                new=new,
                max_time_s=None if max_time is None else seconds_of(max_time),
            ),
        )
        return run_prune(asked, source, console)

    def show(result: Pruned) -> None:
        from modelscale.cli.pruned import show_pruned

        show_pruned(result, console)

    run_command("prune", console, work, show)
