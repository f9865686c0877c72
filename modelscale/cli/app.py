"""The command line. A command's module is imported when that command runs, not before."""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from modelscale import __version__
from modelscale.errors import ModelscaleError

CLOSED_PIPE = 141
USAGE = 2

COMMANDS = {
    "train": "Train one model, from one or more seeds at once.",
    "tune": "Search hyper-parameters.",
    "prune": "Make a trained model smaller and faster, and measure it.",
    "ensemble": "Train or select several models that answer together.",
    "scale": "Train a ladder of sizes and fit the law that ties them to performance.",
    "fit": "Fit scaling laws to a table of measured points.",
    "evaluate": "Measure a trained model, with confidence intervals.",
    "predict": "Write a trained model's predictions for a file.",
    "profile": "Parameters, operations, latency, throughput and memory of a model.",
    "export": "Turn a trained model into a file for other programs.",
    "report": "Write one HTML page about runs, or compare them.",
    "runs": "List, show, compare and remove runs.",
    "data": "List, fetch and show data sets.",
    "init": "Write a spec to start from.",
    "validate": "Check specs; tell all faults at once.",
    "plan": "Say what a spec would run and cost.",
    "schema": "Print the JSON Schema of specs, for editors.",
    "doctor": "Check this installation.",
}
"""All commands, in the order of help. One exists if `modelscale/cli/<name>.py` does; that
module's `register(app)` adds it."""

_HELP = """Train, tune and measure PyTorch models from one YAML file.

Start with: modelscale init my.yaml && modelscale validate my.yaml
"""


def main() -> None:
    """Run the command line and leave with its exit code."""
    arguments = sys.argv[1:]
    _ready_streams()
    # Looking for pydantic's plugins reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Collecting garbage during imports finds none; a command that begins its work turns it on.
    gc.disable()
    try:
        command = typer.main.get_command(build(_wanted(arguments)))
        command.main(args=arguments, prog_name="modelscale")
    except BrokenPipeError:
        _leave_closed_pipe()
    except SystemExit as leaving:
        cause = leaving.__context__
        if isinstance(cause, OSError) and cause.errno == errno.EPIPE:
            _leave_closed_pipe()
        told = isinstance(cause, ModelscaleError)
        if leaving.code == USAGE and "--json" in arguments and not told:
            _tell_usage(arguments)
        _flush(leaving.code)


def _ready_streams() -> None:
    """Make stdout and stderr take any text, also where they are closed or know only ASCII."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller; what is printed goes nowhere
            setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def build(wanted: str | None) -> typer.Typer:
    """Return the command line with the wanted command, or else with all in name only."""
    app = typer.Typer(
        help=_HELP,
        no_args_is_help=True,
        # Rich costs twice the start-up time of everything else together.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    there = [name for name in COMMANDS if (Path(__file__).parent / f"{name}.py").is_file()]
    if wanted in there:
        importlib.import_module(f"modelscale.cli.{wanted}").register(app)
        there = []
    for name in there:
        app.command(name, help=COMMANDS[name])(_in_name_only)
    return app


def _show_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"modelscale {__version__}\n")
        raise typer.Exit


def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Serve the options that stand before the command."""


def _in_name_only() -> None:
    """Stand for a command in the help; the one that runs is always complete."""


def _wanted(arguments: list[str]) -> str | None:
    """Return the command that the arguments name, or that a shell wants to complete."""
    if "_MODELSCALE_COMPLETE" in os.environ:
        typed = os.environ.get("COMP_WORDS", os.environ.get("_TYPER_COMPLETE_ARGS", ""))
        arguments = typed.split()[1:]
    return next((word for word in arguments if not word.startswith("-")), None)


def _tell_usage(arguments: list[str]) -> None:
    from modelscale.cli.console import Console

    content: dict[str, Any] = {"status": "error", "exit_code": USAGE}
    content["messages"] = ["the command line is wrong; see the standard error"]
    Console(as_json=True).document(_wanted(arguments) or "", content)


def _flush(code: Any) -> None:
    """Leave, having found out now whether the reader of stdout is still there."""
    gc.freeze()  # the interpreter's last collection has nothing left to search
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_closed_pipe()
    sys.exit(code)


def _leave_closed_pipe() -> None:
    """Leave without a word, as programs do whose reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(CLOSED_PIPE)
