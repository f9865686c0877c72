"""Options that several commands share, and what they mean to the spec."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path, typer.Argument(help="YAML spec; - reads the standard input.")]
Configs = Annotated[list[Path], typer.Argument(help="YAML specs; - reads the standard input.")]
Checkpoint = Annotated[
    Path, typer.Argument(help="Checkpoint, run or study folder, or a run's name.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the spec: optimizer.lr=1e-3."),
]
RunsRoot = Annotated[
    Path, typer.Option("--runs", envvar="MODELSCALE_RUNS", help="Folder that holds the runs.")
]
Name = Annotated[str | None, typer.Option("--name", help="Name of the run.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:0.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; all cores by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Tell only warnings and errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Tell details.")]
New = Annotated[bool, typer.Option("--new", help="Start another run beside a finished one.")]
Beam = Annotated[
    int | None,
    typer.Option("--beam", min=1, max=100, help="Of writing models: beginnings followed."),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="NAME", help="Allow a kind of an installed package."),
]

RUNS = Path("runs")


def changes(
    overrides: list[str] | None,
    name: str | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> tuple[str, ...]:
    """Return all overrides of the spec: those of `--set`, then those with their own option."""
    if name is None and seed is None and device is None:
        return tuple(overrides or ())
    from modelscale.spec.emit import quoted

    own = {
        "name": None if name is None else quoted(name),
        "seed": None if seed is None else str(seed),
        "device": None if device is None else quoted(device),
    }
    given = tuple(f"{key}={value}" for key, value in own.items() if value is not None)
    return (*(overrides or ()), *given)


def allow(plugins: list[str] | None) -> None:
    """Make the kinds of installed packages available that the command line names.

    Raises:
        Unavailable: If no installed package offers one.
    """
    if plugins:
        from modelscale.components import allow_plugin

        for plugin in plugins:
            allow_plugin(plugin)
