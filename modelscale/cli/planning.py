"""How a plan looks on a terminal."""

from __future__ import annotations

from typing import Any

from modelscale.cli.console import Console
from modelscale.report import numbers

_UNKNOWN = "unknown; --measure finds out"


def show_planned(document: dict[str, Any], console: Console, *, explain: bool) -> None:
    """Print what would run and cost; where asked, what trains together and why others not."""
    data, train, tune = document["data"], document["train"], document["tune"]
    rows = [["data", f"{data['origin']}, {data['rows']:,} rows, {data['task']}"]]
    for number, fold in enumerate(data["folds"]):
        place = f"fold {number}" if len(data["folds"]) > 1 else "parts"
        rows.append([place, ", ".join(f"{part} {n:,}" for part, n in fold.items())])
    model = train["model"]
    rows += [
        [
            "model",
            f"{model['kind']}, {numbers.count(model['parameters'])} parameters, "
            f"{numbers.si(model['macs'], 'MAC')} an example",
        ],
        [
            "each member",
            f"{train['epochs']} epochs of {train['steps_per_epoch']} steps, "
            f"batches of {train['batch_size']}",
        ],
        *_beginning(train.get("start")),
        ["device", document["device"]],
    ]
    console.table(["what", "value"], rows)
    console.data("")
    columns = ["", "train", *(["tune"] if tune else [])]
    verbs = [train, *([tune] if tune else [])]
    console.table(columns, [[head, *map(tell, verbs)] for head, tell in _LINES.items()])
    if document["scale"]:
        console.data("")
        _ladder(document["scale"], console)
    if explain:
        _explain(train, tune, console)


def _beginning(start: dict[str, Any] | None) -> list[list[str]]:
    """Return the line on the checkpoint that the model begins with, if any."""
    if start is None:
        return []
    frozen = f", {numbers.count(start['frozen'])} frozen" if start["frozen"] else ""
    fresh = f"; fresh: {', '.join(start['fresh'])}" if start["fresh"] else ""
    return [
        [
            "begins with",
            f"{numbers.count(start['taken_over'])} numbers of checkpoint "
            f"{start['sha256'][:12]}{frozen}; {start['layers']} layers below the output{fresh}",
        ]
    ]


def _ladder(scale: dict[str, Any], console: Console) -> None:
    """Print what each size of the ladder costs, and the whole."""
    rows = [
        [
            ", ".join(f"{k} {v}" for k, v in size["changes"].items()) or "as it is",
            numbers.count(size["parameters"]),
            numbers.si(size["macs"], "MAC"),
            f"{size['runs']}",
            numbers.si(size["flops"], "FLOP"),
            _time(size),
        ]
        for size in scale["sizes"]
    ]
    rows.append(
        [
            "in total",
            "",
            "",
            f"{scale['runs']}",
            numbers.si(scale["flops"]["total"], "FLOP"),
            _time(scale),
        ]
    )
    console.table(["scale", "parameters", "an example", "runs", "FLOPs", "time"], rows)
    fractions = ", ".join(
        f"{part['fraction']:g} ({part['rows']:,} rows)" for part in scale["data"]
    )
    console.data(f"of the training rows: {fractions}; {_run(scale)}")


def _replicas(verb: dict[str, Any]) -> str:
    if "trials" in verb:
        early = f", {verb['early_stop']}" if verb["early_stop"] else ""
        return f"{verb['trials']} trials ({verb['sampler']}{early})"
    return f"{len(verb['members'])} member{'s' * (len(verb['members']) > 1)}"


def _run(verb: dict[str, Any]) -> str:
    earlier = verb["run"]
    if earlier is None:
        return "a new one"
    ended = earlier["status"] in {"done", "diverged"}
    return f"{'reports' if ended else 'goes on with'} {earlier['path']} ({earlier['status']})"


def _time(verb: dict[str, Any]) -> str:
    return _UNKNOWN if verb["seconds"] is None else f"about {numbers.duration(verb['seconds'])}"


def _together(verb: dict[str, Any]) -> str:
    size = verb["cohorts"]["size"]
    return _UNKNOWN if size is None else str(size)


_LINES = {
    "run": _run,
    "replicas": _replicas,
    "trained together": _together,
    "steps": lambda verb: numbers.count(verb["steps"]),
    "FLOPs a step": lambda verb: numbers.si(verb["flops"]["step"], "FLOP"),
    "FLOPs in total": lambda verb: numbers.si(verb["flops"]["total"], "FLOP"),
    "memory": lambda verb: numbers.size(verb["memory"]["total"]),
    "checkpoints, at most": lambda verb: numbers.size(verb["disk"]["peak"]),
    "checkpoints, at the end": lambda verb: numbers.size(verb["disk"]["final"]),
    "training time": _time,
}


def _explain(train: dict[str, Any], tune: dict[str, Any] | None, console: Console) -> None:
    console.data("")
    rows = [
        [str(number), str(len(group["members"])), ", ".join(group["differs_in"]) or "–"]
        for number, group in enumerate(train["groups"])
    ]
    console.table(["train: group", "members", "differs from group 0 in"], rows)
    if tune:
        console.data("")
        rows = [
            [key, "together" if found["together"] else "apart", _reason(found)]
            for key, found in tune["space"].items()
        ]
        console.table(["tune: trials that differ in", "train", "because of"], rows)
    for name, verb in (("train", train), ("tune", tune)):
        if verb and verb["cohorts"]["measured"]:
            console.data("")
            _speeds(name, verb["cohorts"], console)


def _reason(found: dict[str, Any]) -> str:
    return ", ".join(found["differs_in"]) or "the same structure"


def _speeds(name: str, cohorts: dict[str, Any], console: Console) -> None:
    rows = [
        [
            str(speed["size"]),
            numbers.duration(speed["step_s"]),
            f"{speed['speedup']:.2f}",
            "chosen" if speed["size"] == cohorts["size"] else "",
        ]
        for speed in cohorts["measured"]
    ]
    console.table([f"{name}: together", "step of one replica", "times as fast", ""], rows)
