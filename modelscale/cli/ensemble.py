"""`modelscale ensemble`: several models that answer together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from modelscale.cli.console import Console
from modelscale.cli.frame import run_command
from modelscale.cli.options import (
    RUNS,
    AsJson,
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
    from modelscale.commands.ensemble import Ensembled
    from modelscale.commands.ensembling.finished_runs import Source
    from modelscale.commands.launching import Request

_EXAMPLES = """Examples:

  modelscale ensemble my.yaml --set 'ensemble={kind: average, members: 8}'

  modelscale ensemble my.yaml --set ensemble=stacking --distill --json

  modelscale ensemble runs/search --set ensemble=greedy

  modelscale ensemble runs/folded-search --set 'ensemble={kind: stacking, members: 12}'

The same command again goes on with an interrupted run (exit code 75), or reports a finished
one. Exit codes: 4 some members diverged, 10 all did, 75 interrupted with the state saved.
"""

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG|RUN...",
        help="A YAML spec (- for the standard input), or finished runs.",
    ),
]
Distill = Annotated[
    bool, typer.Option("--distill", help="Also train one model on what the ensemble answers.")
]
MaxTime = Annotated[
    str | None,
    typer.Option(
        "--max-time", metavar="30m", help="Save and stop with exit code 75 after this."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ensemble", epilog=_EXAMPLES)(ensemble)


def ensemble(
    inputs: Inputs,
    set_: Overrides = None,
    distill: Distill = False,
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
    """Train several models, or take finished ones, and let them answer together."""
    from modelscale.cli.requests import request
    from modelscale.commands.ensemble import ensemble as run_ensemble
    from modelscale.commands.ensemble import ensemble_of as run_ensemble_of
    from modelscale.commands.ensemble import ensemble_of_study as run_ensemble_of_study
    from modelscale.commands.ensembling.study_members import study_of

    console = Console(as_json, quiet, verbose)

    def work() -> Ensembled:
        allow(plugin)
        words = [*(set_ or []), *(["ensemble.distill={}"] if distill else [])]
        own = changes(words, name, seed, device)
        if len(inputs) == 1 and (inputs[0] == "-" or Path(inputs[0]).is_file()):
            config = Path(inputs[0])
            asked = request("ensemble", config, own, runs, threads, new, max_time)
            return run_ensemble(asked, console)
        how = Launch(own, name, runs, threads, new, max_time)
        study = study_of(inputs, runs)
        if study is not None:
            return run_ensemble_of_study(_of_run(study.run, how), study, console)
        return run_ensemble_of(*_of_models(inputs, how), console)

    def show(result: Ensembled) -> None:
        show_ensembled(result, console)

    run_command("ensemble", console, work, show)


_FREE = ("ensemble", "evaluate", "metrics", "name", "seed", "device", "version")
"""Keys of a spec that mean something where members are given by finished runs."""


class Launch(NamedTuple):
    """What the command line says beside the runs.

    Attributes:
        overrides: `KEY.PATH=VALUE`, in order.
        name: Of the new run.
        runs: The runs folder.
        threads: CPU threads.
        new: Whether to start another run beside an equal one.
        max_time: After which it saves and stops.
    """

    overrides: tuple[str, ...]
    name: str | None
    runs: Path
    threads: int | None
    new: bool
    max_time: str | None


def _of_run(run: Path, how: Launch) -> Request:
    """Return the request for an ensemble by the spec of a finished run.

    The method is greedy selection where that spec asks for none.

    Raises:
        UsageError: If something is to be changed that members of finished runs cannot have.
    """
    from dataclasses import replace

    from modelscale.cli.requests import request
    from modelscale.commands.experiment import Experiment
    from modelscale.errors import UsageError
    from modelscale.runs.folder import RESOLVED_FILE
    from modelscale.spec.loader import load

    for word in how.overrides:
        if word.partition("=")[0].partition(".")[0].strip() not in _FREE:
            raise UsageError(
                f"--set {word}: members are of finished runs; only these can be set: "
                f"{', '.join(_FREE)}"
            )
    config, overrides = run / RESOLVED_FILE, how.overrides
    if load(config, Experiment).spec.ensemble is None:
        overrides = ("ensemble=greedy", *overrides)
    asked = request("ensemble", config, overrides, how.runs, how.threads, how.new, how.max_time)
    spec = asked.experiment.model_copy(update={"tune": None, "name": how.name})
    stem = f"{run.parent.name}-ensemble"
    return replace(asked, loaded=replace(asked.loaded, spec=spec), stem=stem)


def _of_models(paths: list[str], how: Launch) -> tuple[Request, list[Source]]:
    """Return the request to combine finished models by the spec of the first, and these."""
    from dataclasses import replace

    from modelscale.commands.ensembling.finished_runs import sources_of

    sources = sources_of(paths, how.runs)
    asked = _of_run(sources[0].run, how)
    section = asked.experiment.ensemble
    assert section is not None
    if section.inner_folds is not None:
        section = section.model_copy(update={"folds": None})
    spec = asked.experiment.model_copy(
        update={"ensemble": section, "model": sources[0].experiment.model}
    )
    return replace(asked, loaded=replace(asked.loaded, spec=spec)), sources


def show_ensembled(result: Ensembled, console: Console) -> None:
    """Print what an ensemble is worth beside its members, and what it costs."""
    from modelscale.cli.results import show_metrics
    from modelscale.report import numbers

    document = result.document
    show_metrics(document["metrics"], document["baseline"], console)
    for part, comparison in document.get("comparison", {}).items():
        console.data("")
        rows = [
            [
                label,
                numbers.significant(document["metrics"][part][label]["value"]),
                numbers.significant(entry["best_member"]),
                _gain(entry["over_best"]),
                numbers.significant(entry["mean_member"]),
                _gain(entry["over_mean"]),
            ]
            for label, entry in comparison.items()
        ]
        heads = ["ensemble", "best member", "difference", "mean member", "difference"]
        console.table([f"{part}", *heads], rows)
    console.data("")
    _show_costs(document["cost"], console)
    if document.get("distilled", {}).get("keeps"):
        console.data("")
        _show_distilled(document["distilled"], console)
    console.note(_summary(document))
    if document.get("verdict"):
        console.note(document["verdict"])
    console.note(f"{result.run}")


def _show_costs(cost: dict[str, Any], console: Console) -> None:
    from modelscale.report import numbers

    rows = []
    for who in ("ensemble", "member"):
        facts = cost[who]
        rows.append(
            [
                who,
                numbers.count(facts["parameters"]),
                numbers.si(facts["macs"], "MAC"),
                numbers.size(facts["bytes"]),
                *[numbers.significant(ms) for ms in facts["latency_ms"].values()],
                numbers.duration(facts["seconds"]) if "seconds" in facts else "–",
            ]
        )
    batches = [f"ms at batch {size}" for size in cost["ensemble"]["latency_ms"]]
    console.table(["cost", "parameters", "an example", "size", *batches, "training"], rows)


def _show_distilled(distilled: dict[str, Any], console: Console) -> None:
    from modelscale.report import numbers

    rows = [
        [
            label,
            numbers.significant(entry["value"]),
            numbers.significant(entry["ensemble"]),
            numbers.significant(entry["best_member"]),
            "–" if entry["kept"] is None else numbers.percent(entry["kept"]),
        ]
        for label, entry in distilled["keeps"].items()
    ]
    heads = ["one model", "ensemble", "best member", "gain kept"]
    console.table(["distilled", *heads], rows)


def _summary(document: dict[str, Any]) -> str:
    method, selection = document["method"], document["selection"]
    used = sum(row["weight"] != 0 for row in document["members"])
    text = f"{method['kind']}: {used} of {len(document['members'])} members"
    if method["folds"]:
        text += f", each {method['folds']} models"
    text += f"; judged on {selection['rows']} rows ({selection['origin']})"
    calibration = document["calibration"]
    if calibration is not None and calibration["temperature"] != 1:
        text += f"; temperature {calibration['temperature']:.3g}"
    return text


def _gain(entry: dict[str, Any]) -> str:
    from modelscale.report import numbers

    if entry["low"] is None or entry["high"] is None:
        return numbers.significant(entry["value"])
    low, high = numbers.significant(entry["low"]), numbers.significant(entry["high"])
    return f"{numbers.significant(entry['value'])} ({low} – {high})"
