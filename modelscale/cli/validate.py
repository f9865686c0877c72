"""`modelscale validate`: check specs without running anything."""

from __future__ import annotations

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import (
    AsJson,
    Configs,
    Device,
    Name,
    Overrides,
    Plugins,
    Quiet,
    Seed,
    allow,
    changes,
)

_EXAMPLES = """Examples:

  modelscale init my.yaml && modelscale validate my.yaml

  modelscale validate my.yaml --set optimizer.lr=1e-3 --json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("validate", epilog=_EXAMPLES)(validate)


def validate(
    configs: Configs,
    set_: Overrides = None,
    name: Name = None,
    seed: Seed = None,
    device: Device = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check specs; tell all faults of all files at once.

    Prints a line for each good file. Exit code 78 for a bad spec, 66 for a missing file.
    """
    from modelscale.commands.validate import Validated, check

    console = Console(as_json, quiet)

    def work() -> Validated:
        allow(plugin)
        result = check(configs, changes(set_, name, seed, device))
        for checked in result.files:
            for message in checked.messages:
                console.error(message)
        return result

    def show(result: Validated) -> None:
        for checked in result.files:
            if not checked.messages and not quiet:
                console.data(f"ok {checked.path}")

    run_command("validate", console, work, show)
