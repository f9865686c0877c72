"""`modelscale fit`: scaling laws of a table of measured points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import AsJson, Quiet

if TYPE_CHECKING:
    from modelscale.commands.fit import Fitted
    from modelscale.commands.fit_curves import FittedCurves

_EXAMPLES = """Examples:

  modelscale fit points.csv --at parameters=7e9,tokens=1.4e11

  modelscale fit points.csv --columns 'parameters=Model Size' --law chinchilla --compute 5.76e23

  modelscale fit points.csv --inference-tokens 2e12 --quality-of parameters=13e9

  modelscale fit curves.csv --curves --json

Exit codes: 2 a question over 100 times beyond the data, without --force, 65 the table is
damaged or has too few points, 66 it is missing, 73 the output exists or cannot be created.
"""

Table = Annotated[Path, typer.Argument(metavar="TABLE", help="A .csv, .tsv or .parquet file.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--columns", metavar="ROLE=COLUMN", help="What a column is: loss=val_error."),
]
At = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="NAME=VALUE,...", help="Predict the loss there; repeated."),
]
Compute = Annotated[
    list[float] | None,
    typer.Option("--compute", metavar="FLOPS", help="Best size for this budget; repeated."),
]
Inference = Annotated[
    float | None, typer.Option("--inference-tokens", help="Tokens that will be served.")
]
QualityOf = Annotated[
    str | None,
    typer.Option(
        "--quality-of", metavar="NAME=VALUE,...", help="The reference: parameters=13e9."
    ),
]
Outliers = Annotated[
    str, typer.Option("--outliers", help="auto, none, highest:N (losses) or residual:N.")
]
Output = Annotated[
    list[Path] | None,
    typer.Option("--output", "-o", help="Also write law .json, page .html or plot .svg."),
]

Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Overwrite the output; answer questions over 100 times beyond the data.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fit", epilog=_EXAMPLES)(fit)


def fit(
    table: Table,
    columns: Columns = None,
    law: Annotated[str, typer.Option("--law", help="A kind of law, or auto.")] = "auto",
    along: Annotated[
        str | None, typer.Option("--along", help="Size of a one-dimensional law: tokens.")
    ] = None,
    at: At = None,
    compute: Compute = None,
    inference_tokens: Inference = None,
    quality_of: QualityOf = None,
    curves: Annotated[
        bool, typer.Option("--curves", help="The table holds many learning curves.")
    ] = False,
    outliers: Outliers = "auto",
    delta: Annotated[
        float | None,
        typer.Option("--delta", help="Huber's, in nats; by default by the number of points."),
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Of intervals.")] = 0.9,
    resamples: Annotated[
        int, typer.Option("--resamples", min=50, max=100_000, help="Of the bootstrap.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0,
    output: Output = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit scaling laws to measured points, with intervals, and say what to train next."""
    console = Console(as_json, quiet)

    def work() -> Fitted | FittedCurves:
        from modelscale.commands import fit as command
        from modelscale.commands.fit_curves import fit_curves
        from modelscale.commands.fit_output import check_outputs, write_outputs
        from modelscale.commands.fit_request import (
            check_questions,
            options_of,
            refuse_with_curves,
        )

        options = options_of(level, seed, resamples, delta, outliers)
        outputs = output or []
        check_outputs(outputs, curves=curves, force=force)
        questions = command.Questions(
            tuple(at or ()), tuple(compute or ()), inference_tokens, quality_of, force
        )
        check_questions(questions)
        found: Fitted | FittedCurves
        if curves:
            refuse_with_curves(questions, law, along)
            found = fit_curves(table, columns or (), level)
        else:
            found = command.fit(table, columns or (), law, along, options, questions)
        for warning in found.warnings:
            console.warn(warning)
        write_outputs(found, outputs)
        return found

    def show(found: Fitted | FittedCurves) -> None:
        from modelscale.cli.fitted import show_curves, show_fit
        from modelscale.commands.fit_curves import FittedCurves

        if isinstance(found, FittedCurves):
            show_curves(found, console)
        else:
            show_fit(found, console)

    run_command("fit", console, work, show)
