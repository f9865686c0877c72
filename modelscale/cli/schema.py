"""`modelscale schema`: the JSON Schema of specs."""

from __future__ import annotations

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import AsJson, Plugins, allow

_EXAMPLES = """Examples:

  modelscale schema > modelscale.schema.json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema", epilog=_EXAMPLES)(schema)


def schema(plugin: Plugins = None, as_json: AsJson = False) -> None:
    """Print the JSON Schema of specs, for editors.

    An editor with yaml-language-server uses it in files that begin with the line
    "# yaml-language-server: $schema=modelscale.schema.json".
    """
    from modelscale.commands.schema import Schema, experiment_schema

    console = Console(as_json)

    def work() -> Schema:
        allow(plugin)
        return experiment_schema()

    def show(result: Schema) -> None:
        console.data(result.text().rstrip())

    run_command("schema", console, work, show)
