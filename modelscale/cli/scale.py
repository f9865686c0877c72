"""`modelscale scale`: a ladder of sizes and data, and the law that ties them to performance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from modelscale.commands.scale import Scaled

_EXAMPLES = """Examples:

  modelscale plan my.yaml && modelscale scale my.yaml

  modelscale scale my.yaml --set 'scale={family: {steps: 5}, data: {fractions: [0.1, 0.3, 1]}}'

  modelscale fit runs/my/latest/points.csv --law chinchilla

The same command again goes on with an interrupted run (exit code 75), or reports a finished
one. Exit codes: 4 some rungs diverged, 10 all did, 75 interrupted with the state saved.
"""

MaxTime = Annotated[
    str | None,
    typer.Option(
        "--max-time", metavar="30m", help="Save and stop with exit code 75 after this."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("scale", epilog=_EXAMPLES)(scale)


def scale(
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
    """Train a ladder of sizes and data, fit its law, test it on the top, say what is next."""
    from modelscale.cli.requests import request
    from modelscale.commands.scale import scale as run_scale

    console = Console(as_json, quiet, verbose)

    def work() -> Scaled:
        allow(plugin)
        own = changes(set_, name, seed, device)
        asked = request("scale", config, own, runs, threads, new, max_time)
        return run_scale(asked, console)

    def show(result: Scaled) -> None:
        show_scaled(result, console)

    run_command("scale", console, work, show)


def show_scaled(result: Scaled, console: Console) -> None:
    """Print the law, its test on the rungs that it has not seen, and what follows from it."""
    from modelscale.report import numbers

    document = result.document
    rungs, law, units = document["rungs"], document["law"], document.get("units", "examples")
    console.note(
        f"{rungs['complete']} of {rungs['total']} rungs trained in "
        f"{numbers.duration(document['seconds'])}"
    )
    if law is not None:
        _show_law(document, law, console)
    if document["held_out"]:
        console.data("")
        _show_test(document["held_out"], units, console)
    advice = document["recommendation"]
    if advice is not None:
        console.data("")
        _show_advice(document["metric"], advice, units, console)
    console.note(f"{result.run}: points.csv, law.json; recommended.yaml is ready for train")
    console.note(f"next: modelscale report {result.run}")


def _show_law(document: dict[str, Any], law: dict[str, Any], console: Console) -> None:
    from modelscale.report import numbers

    rate, check = document["learning_rate"], document.get("coordinate_check")
    if rate is not None:
        power = f" N^{0 - rate['a']:.4g}" if check is None else " at all widths"
        console.data(f"learning rate: {rate['c']:.4g}{power}")
    _show_check(check, console)
    console.data(
        f"law of {document['metric']}: {law['kind']}, {law['points']} runs, noise "
        f"{law['noise']:.2%}" + (f", x: {document['along']}" if document["along"] else "")
    )
    level = f"{law['level']:.0%}"
    again = document["refit"]
    same = again is not None and again["kind"] == law["kind"]
    refit = again["params"] if same else {}
    rows = [
        [
            name,
            numbers.parameter(p["value"]),
            _ends(p),
            *([numbers.parameter(refit[name]["value"])] if same else []),
        ]
        for name, p in law["params"].items()
    ]
    more = ["with the top"] if same else []
    console.table(["parameter", "value", f"{level} interval", *more], rows)
    if again is not None and not same:
        told = ", ".join(
            f"{name} {numbers.parameter(p['value'])}" for name, p in again["params"].items()
        )
        console.data(f"with the top the law is {again['kind']}: {told}")


def _show_check(check: dict[str, Any] | None, console: Console) -> None:
    if check is None:
        return
    slopes = [layer["slope"] for layer in check["layers"] if layer["slope"] is not None]
    plain = [x["standard_slope"] for x in check["layers"] if x["standard_slope"] is not None]
    if slopes and plain:
        console.data(
            f"coordinate check: layers change by width^{min(slopes):+.2f} to "
            f"{max(slopes):+.2f} (standard: {min(plain):+.2f} to {max(plain):+.2f}): "
            f"{'holds' if check['holds'] else 'does not hold'}"
        )


def _show_test(held: dict[str, Any], units: str, console: Console) -> None:
    rows = [
        [
            f"{rung['parameters']:,.0f}",
            f"{rung['tokens']:,.0f}",
            f"{rung['times_fitted_compute']:.2f}",
            f"{rung['measured']:.4g}",
            f"{rung['value']:.4g} {_ends(rung)}",
            f"{rung['error']:+.1%}",
            "inside" if rung["inside"] else "outside",
        ]
        for rung in held["rungs"]
    ]
    console.table(
        [
            "held out: parameters",
            units,
            "× compute",
            "measured",
            f"predicted [{held['level']:.0%}]",
            "error",
            "interval",
        ],
        rows,
    )


def _show_advice(metric: str, advice: dict[str, Any], units: str, console: Console) -> None:
    rows = [
        [
            ", ".join(f"{k} {v}" for k, v in option["changes"].items()) or "as it is",
            f"{option['parameters']:,}",
            f"{option['compute']:.3g}",
            f"{option['expected']['value']:.4g} {_ends(option['expected'])}",
            _mark(option, advice["chosen"]),
        ]
        for option in advice["sizes"]
    ]
    console.table(["with all data", "parameters", "FLOPs", f"expected {metric}", ""], rows)
    if advice["frontier"]:
        console.data("")
        rows = [
            [
                f"{budget['compute']:.3g}",
                f"{budget['parameters']['value']:.3g} {_ends(budget['parameters'])}",
                f"{budget['tokens']['value']:.3g} {_ends(budget['tokens'])}",
                f"{budget['loss']['value']:.4g} {_ends(budget['loss'])}",
            ]
            for budget in advice["frontier"]
        ]
        console.table(["FLOPs", "best parameters", f"best {units}", "expected"], rows)
    for gain in advice["returns"]:
        what = units if gain["what"] == "tokens" else gain["what"]
        console.data(
            f"twice the {what} buys {gain['gain']['value']:.3g} {_ends(gain['gain'])} "
            f"of {gain['before']:.4g}"
        )
    run = advice["next_run"]
    if run is not None:
        console.data(
            f"the next run that teaches most: {run['parameters']:,} parameters on "
            f"{run['fraction']:.0%} of the data, {run['compute']:.3g} FLOPs{_time(run)}: the "
            f"error at 10 times the compute goes from {run['sd_before']:.2%} to "
            f"{run['sd_after']:.2%}"
        )


def _time(run: dict[str, Any]) -> str:
    """Return what a run costs in time, by the pace of the largest rung."""
    from modelscale.report import numbers

    return f", about {numbers.duration(run['seconds'])} each seed" if run.get("seconds") else ""


def _mark(option: dict[str, Any], chosen: dict[str, Any]) -> str:
    words = [] if option["trained"] else ["not trained"]
    if option["size"] == chosen["size"]:
        words.append("recommended")
    return ", ".join(words)


def _ends(interval: dict[str, Any]) -> str:
    low, high = interval["low"], interval["high"]
    if low is None or high is None:
        return ""
    return f"[{low:.4g}, {high:.4g}]"
