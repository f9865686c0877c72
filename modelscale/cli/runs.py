"""`modelscale runs`: list, show, compare and remove runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import RUNS, AsJson, Quiet, RunsRoot

if TYPE_CHECKING:
    from modelscale.commands.runs import Comparison, Listing, Removed, Shown

_EXAMPLES = """Examples:

  modelscale runs ls

  modelscale runs show digits-mlp

  modelscale runs compare digits-mlp runs/digits-mlp/20260102-030405-0a1b2c

  modelscale runs rm digits-mlp/20260102-030405-0a1b2c
"""
_MOST_METRICS = 3

Run = Annotated[Path, typer.Argument(help="Run folder, or NAME (its newest run).")]
Runs = Annotated[list[Path], typer.Argument(help="Run folders or names.")]


def register(app: typer.Typer) -> None:
    """Add the command and its own commands."""
    runs = typer.Typer(
        help="List, show, compare and remove runs.",
        epilog=_EXAMPLES,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    runs.command("ls")(ls)
    runs.command("show")(show)
    runs.command("compare")(compare)
    runs.command("rm")(rm)
    app.add_typer(runs, name="runs")


def ls(
    name: Annotated[str | None, typer.Argument(help="Only the runs of this name.")] = None,
    runs: RunsRoot = RUNS,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List runs with their status and results, oldest first within a name."""
    from modelscale.commands import runs as commands

    console = Console(as_json, quiet)

    def shown(result: Listing) -> None:
        if not result.runs:
            console.note(f"no runs in {runs}")
            return
        rows = [
            (row.path, row.status, row.created or "–", _first(row.metrics), row.note)
            for row in result.runs
        ]
        console.table(("run", "status", "created", "metrics", "note"), rows)

    run_command("runs ls", console, lambda: commands.ls(runs, name), shown)


def show(
    run: Run, runs: RunsRoot = RUNS, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Show everything about one run."""
    from modelscale.commands import runs as commands

    console = Console(as_json, quiet)

    def shown(result: Shown) -> None:
        record = result.record
        facts: dict[str, Any] = {
            "run": result.row.path,
            "status": f"{result.row.status} {result.row.note}".strip(),
            "command": result.row.command,
            "created": record.created,
            "finished": record.finished or "–",
            "attempts": len(record.attempts),
            "exact resume": "yes" if record.exact_resume else "no",
            "device": record.facts.device or "–",
            **record.facts.versions,
            "git commit": record.git_commit or "–",
            "checkpoints": " ".join(map(str, result.checkpoints)) or "–",
            "best": "–" if result.best is None else result.best,
            **{f"trials {state}": count for state, count in result.trials.items()},
            "metric lines": result.metric_lines,
            **result.row.metrics,
        }
        console.table(("what", "value"), [(key, _text(facts[key])) for key in facts])
        console.data("")
        settings = [(key, _text(value)) for key, value in result.settings.items()]
        console.table(("setting", "value"), settings)

    run_command("runs show", console, lambda: commands.show(run, runs), shown)


def compare(
    which: Runs, runs: RunsRoot = RUNS, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Put runs side by side: the settings in which they differ, and their results."""
    from modelscale.commands import runs as commands

    console = Console(as_json, quiet)

    def shown(result: Comparison) -> None:
        rows = {**result.settings, **result.metrics}
        console.table(
            ("", *result.runs), [(key, *map(_text, values)) for key, values in rows.items()]
        )

    run_command("runs compare", console, lambda: commands.compare(which, runs), shown)


def rm(
    which: Runs,
    force: Annotated[
        bool, typer.Option("--force", help="Even if a process works on it.")
    ] = False,
    runs: RunsRoot = RUNS,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Remove runs for good. A name stands for its run if it has only one."""
    from modelscale.commands import runs as commands

    console = Console(as_json, quiet)

    def shown(result: Removed) -> None:
        for path in result.runs:
            console.note(f"removed {path}")

    run_command("runs rm", console, lambda: commands.rm(which, runs, force=force), shown)


def _first(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{k} {_text(metrics[k])}" for k in list(metrics)[:_MOST_METRICS])


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return "–" if value is None else str(value)
