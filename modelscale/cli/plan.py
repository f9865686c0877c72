"""`modelscale plan`: what a spec would run and cost."""

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
    Overrides,
    Plugins,
    Quiet,
    RunsRoot,
    Seed,
    Threads,
    allow,
    changes,
)

_EXAMPLES = """Examples:

  modelscale plan my.yaml

  modelscale plan my.yaml --set train.seeds=8 --explain-plan

Nothing is written. Exit codes: 78 bad spec, 65 bad data, 66 missing, 69 no such device.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan", epilog=_EXAMPLES)(plan)


def plan(
    config: Config,
    set_: Overrides = None,
    measure: Annotated[
        bool | None,
        typer.Option(
            "--measure/--no-measure",
            help="Time some steps; by default if that takes about two seconds at most.",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain-plan", help="Say what trains together, and why others not."),
    ] = False,
    runs: RunsRoot = RUNS,
    name: Name = None,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what train, and tune and scale if the spec has such sections, would run and cost."""
    from modelscale.cli.requests import request
    from modelscale.commands import plan as command

    console = Console(as_json, quiet)

    def work() -> command.Planned:
        allow(plugin)
        overrides = changes(set_, name, seed, device)
        asked = request("plan", config, overrides, runs, threads, new=False, max_time=None)
        return command.plan(asked, console, measure=measure)

    def show(result: command.Planned) -> None:
        from modelscale.cli.planning import show_planned

        show_planned(result.document, console, explain=explain)

    run_command("plan", console, work, show)
