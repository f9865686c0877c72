"""`modelscale tune`: search hyper-parameters."""

from __future__ import annotations

from dataclasses import replace
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

  modelscale init my.yaml --template tune && modelscale tune my.yaml

  modelscale tune my.yaml --set tune.n_trials=16 --set tune.sampler=random --json

  modelscale tune my.yaml --workers 4

The same command again goes on with an interrupted search (exit code 75), or reports a finished
one. Exit codes: 4 some trials failed, 10 all diverged, 75 interrupted with the state saved.
"""

MaxTime = Annotated[
    str | None,
    typer.Option(
        "--max-time", metavar="30m", help="Save and stop with exit code 75 after this."
    ),
]


Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Processes that share the search here."),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="MODELSCALE_STORAGE",
        metavar="URL",
        help="PostgreSQL database that joins many machines: postgresql://user@host/database.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tune", epilog=_EXAMPLES)(tune)


def tune(
    config: Config,
    set_: Overrides = None,
    runs: RunsRoot = RUNS,
    name: Name = None,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    max_time: MaxTime = None,
    workers: Workers = None,
    storage: Storage = None,
    new: New = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Search the space of a spec's `tune` section; measure the winner on the test part."""
    from modelscale.cli.requests import request
    from modelscale.commands.tune import Tuned
    from modelscale.commands.tune import tune as run_tune

    console = Console(as_json, quiet, verbose)

    def work() -> Tuned:
        allow(plugin)
        given = changes(set_, name, seed, device)
        if workers is not None:
            given = (*given, f"tune.workers={workers}")
        asked = request("tune", config, given, runs, threads, new, max_time)
        return run_tune(replace(asked, storage=storage), console)

    def show(result: Tuned) -> None:
        from modelscale.cli.results import show_tuned

        show_tuned(result, console)

    run_command("tune", console, work, show)
