"""`modelscale train`: train one model, from one or more seeds at once."""

from __future__ import annotations

from typing import Annotated

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import (
    RUNS,
    AsJson,
    Config,
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

_EXAMPLES = """Examples:

  modelscale init my.yaml && modelscale train my.yaml

  modelscale train my.yaml --set train.epochs=5 --set optimizer.lr=3e-3 --json

The same command again goes on with an interrupted run (exit code 75), or reports a finished
one. Exit codes: 4 some seeds diverged, 10 all did, 75 interrupted with the state saved.
"""

MaxTime = Annotated[
    str | None,
    typer.Option(
        "--max-time", metavar="30m", help="Save and stop with exit code 75 after this."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", epilog=_EXAMPLES)(train)


def train(
    config: Config,
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
    """Train the model of a spec; measure it on the validation and test parts."""
    from modelscale.cli.requests import request
    from modelscale.commands.train import Trained
    from modelscale.commands.train import train as run_train

    console = Console(as_json, quiet, verbose)

    def work() -> Trained:
        allow(plugin)
        asked = request(
            "train", config, changes(set_, name, seed, device), runs, threads, new, max_time
        )
        return run_train(asked, console)

    def show(result: Trained) -> None:
        from modelscale.cli.results import show_trained

        show_trained(result, console)

    run_command("train", console, work, show)
