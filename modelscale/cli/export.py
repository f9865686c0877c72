"""`modelscale export`: a trained model as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import (
    RUNS,
    AsJson,
    Checkpoint,
    Plugins,
    Quiet,
    RunsRoot,
    Threads,
    allow,
)

if TYPE_CHECKING:
    from modelscale.commands.export import Exported

_EXAMPLES = """Examples:

  modelscale export runs/digits-mlp --to onnx

  modelscale export runs/digits-mlp --to onnx --quantize int8 -o digits.onnx --json

  modelscale export runs/houses --to torch-export --tolerance 1e-5

Exit codes: 3 the file would differ from the model by more than the tolerance (nothing is
written) or the model cannot be exported, 65 the data changed or the checkpoint is damaged,
66 no checkpoint, 69 an extra is missing, 73 another file is there, 74 the disk is full.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", epilog=_EXAMPLES)(export)


def export(
    checkpoint: Checkpoint,
    to: Annotated[
        Literal["onnx", "torch-export", "executorch"],
        typer.Option("--to", help="Format of the file."),
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The file; by default in exports/ beside the checkpoints."
        ),
    ] = None,
    quantize: Annotated[
        Literal["none", "int8", "int8-static", "int8-dynamic"],
        typer.Option(
            "--quantize", help="Eight-bit arithmetic; int8 takes the kind that suits the net."
        ),
    ] = "none",
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            min=0.0,
            help="Largest difference of an answer (default 1e-4), or with --quantize the most "
            "that the metric may lose (default 0.01).",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="What --quantize may not lose; by default the spec's."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Prove it on this file, not on the run's validation part."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, help="Of timing at each batch size.")
    ] = 0.5,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    accept_data_change: Annotated[
        bool,
        typer.Option("--accept-data-change", help="Prove it although the run's data changed."),
    ] = False,
    runs: RunsRoot = RUNS,
    threads: Threads = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a file that takes your values and gives answers; prove it equal; time it."""
    from modelscale.commands import export as command
    from modelscale.commands.trained_model import open_model

    console = Console(as_json, quiet)

    def work() -> command.Exported:
        allow(plugin)
        trained = open_model(checkpoint, runs, "cpu", threads, console)
        request = command.ExportRequest(
            to=to,
            output=output,
            quantize=quantize,
            tolerance=tolerance,
            metric=metric,
            data=data,
            seconds=seconds,
            force=force,
            accept_data_change=accept_data_change,
        )
        result = command.export(trained, request, console)
        for fault in result.faults:
            console.error(fault)
        return result

    run_command("export", console, work, lambda result: _show(result, console))


def _show(result: Exported, console: Console) -> None:
    """Print how near and how fast the file is."""
    from modelscale.report import numbers

    document = result.document
    parity = document["parity"]
    rows = [
        [
            label,
            numbers.significant(entry["model"]),
            numbers.significant(entry["artifact"]),
            f"{entry['difference']['value'] or 0.0:+.3g}",
            _interval(entry["difference"]),
        ]
        for label, entry in parity["metrics"].items()
    ]
    part = document["data"]["part"]
    if rows:
        console.table([part, "model", "file", "difference", "95 % interval"], rows)
    console.note(
        f"largest difference of an answer: {numbers.significant(parity['max_abs_diff'], 3)} "
        f"({parity['rows']:,} rows)"
    )
    _show_latency(document, console)
    for file in document["files"][:1]:
        console.note(f"{file}: {numbers.size(document['bytes'])}, proved")


def _interval(entry: dict[str, Any]) -> str:
    from modelscale.report import numbers

    low, high = entry.get("low"), entry.get("high")
    if low is None or high is None:
        return numbers.MISSING
    return f"{low:+.3g} – {high:+.3g}"


def _show_latency(document: dict[str, Any], console: Console) -> None:
    """Print milliseconds by runtime and batch size; tell it where the file is not faster."""
    from modelscale.report import numbers

    latency = document["latency_ms"]
    if not latency:
        return
    console.data("")
    eager, file = latency["eager"], latency[document["runtime"]]
    rows = [
        [name, *(numbers.significant(ms) for ms in by_batch.values())]
        + [f"{eager[batch] / ms:.2f}×" for batch, ms in by_batch.items()]
        for name, by_batch in latency.items()
    ]
    heads = [f"batch {batch}, ms" for batch in eager]
    console.table(["runtime", *heads, *(f"batch {b}, over eager" for b in eager)], rows)
    if document["runtime"] == "torch-export":
        return  # a graph in PyTorch is for other programs, not for speed
    before = latency.get("onnxruntime float", eager)
    slow = [batch for batch, ms in file.items() if ms >= before[batch]]
    if slow:
        than = "without int8" if before is not eager else "PyTorch"
        console.warn(f"at batch {' and '.join(slow)} the file is not faster than {than}")
