"""What rungs came to: one result each, and `points.csv`, which follows from them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscale.commands.documents import clean
from modelscale.evaluation.metric_names import direction_of
from modelscale.runs.folder import RunFolder

if TYPE_CHECKING:
    from modelscale.commands.scale_ladder import Rung
    from modelscale.tensors import Task

POINTS = "points.csv"
RUNGS = "rungs"
_SIX = ".9g"


@dataclass(frozen=True)
class Outcome:
    """What became of a rung.

    Attributes:
        rung: Which one.
        ending: How its training ended.
        best_epoch: Epoch whose weights were kept.
        step: Its optimizer steps.
        values: By part and metric: `validation/loss`.
        seconds: Of its training.
    """

    rung: Rung
    ending: str
    best_epoch: int
    step: int
    values: Mapping[str, float]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the content of `result.json`."""
        return {
            "label": self.rung.label,
            "lr": self.rung.lr,
            "ending": self.ending,
            "best_epoch": self.best_epoch,
            "step": self.step,
            "values": clean(dict(self.values)),
            "seconds": round(self.seconds, 3),
        }


def saved(run: RunFolder, folder: str, rung: Rung) -> Outcome | None:
    """Return what a rung came to; None if it has not been trained to its end.

    Raises:
        DataError: If its file is damaged.
    """
    path = run.path / folder / rung.label
    if not path.is_dir():
        return None
    found = run.sub(f"{folder}/{rung.label}").result()
    if found is None:
        return None
    values = {k: math.nan if v is None else v for k, v in found["values"].items()}
    return Outcome(
        rung, found["ending"], found["best_epoch"], found["step"], values, found["seconds"]
    )


def falls(metric: str, task: Task) -> bool:
    """Return whether smaller values of a metric are better."""
    return direction_of(metric, task) == "minimize"


def loss_of(outcome: Outcome, metric: str, task: Task) -> float:
    """Return what the law is about: the metric, or 1 - the metric where larger is better."""
    value = outcome.values.get(metric, math.nan)
    if outcome.ending != "complete":
        return math.nan
    return value if falls(metric, task) else 1 - value


def usable(outcomes: Sequence[Outcome], metric: str, task: Task) -> list[Outcome]:
    """Return the outcomes whose loss is a positive number, which a law can be fitted to."""

    def fits(outcome: Outcome) -> bool:
        value = loss_of(outcome, metric, task)
        return math.isfinite(value) and value > 0

    return [outcome for outcome in outcomes if fits(outcome)]


def write_points(run: RunFolder, outcomes: Sequence[Outcome], metric: str, task: Task) -> None:
    """Write `points.csv` from all rungs that have ended; `modelscale fit` reads it."""
    run.write(POINTS, points_table(outcomes, metric, task))


def points_table(outcomes: Sequence[Outcome], metric: str, task: Task) -> bytes:
    """Return one row a rung; the loss is empty where it diverged."""
    keys = sorted({key for outcome in outcomes for key in outcome.rung.size.changes})
    others = sorted({name for o in outcomes for name in o.values if name != "lr"})
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    heads = ["member", "group", *keys, "fraction", "seed", "lr", "parameters", "macs"]
    table.writerow([*heads, "rows", "examples", "tokens", "compute", "ending", "loss", *others])
    for outcome in outcomes:
        rung = outcome.rung
        size, loss = rung.size, loss_of(outcome, metric, task)
        table.writerow(
            [
                rung.label,
                f"size-{size.index}-data-{rung.data}",
                *(json.dumps(size.changes.get(key)) for key in keys),
                f"{rung.fraction:g}",
                rung.seed,
                f"{rung.lr:{_SIX}}",
                size.parameters,
                size.macs,
                rung.rows,
                rung.examples,
                rung.units,
                rung.compute,
                outcome.ending,
                _number(loss),
                *(_number(outcome.values.get(name, math.nan)) for name in others),
            ]
        )
    return text.getvalue().encode()


def outcome_json(outcome: Outcome, metric: str, task: Task) -> dict[str, Any]:
    """Return a rung's entry in the document."""
    rung = outcome.rung
    entry = {
        "label": rung.label,
        "size": rung.size.index,
        "fraction": rung.fraction,
        "seed": rung.seed,
        "lr": rung.lr,
        "parameters": rung.size.parameters,
        "macs": rung.size.macs,
        "examples": rung.examples,
        "tokens": rung.units,
        "compute": rung.compute,
        "ending": outcome.ending,
        "loss": loss_of(outcome, metric, task),
    }
    cleaned: dict[str, Any] = clean(entry)
    return cleaned


def _number(value: float) -> str:
    return f"{value:{_SIX}}" if math.isfinite(value) else ""
