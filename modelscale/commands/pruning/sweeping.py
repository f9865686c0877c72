"""Several sizes in several ways: trained together where shapes agree, and one is picked."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

from modelscale.commands.pruning import facts
from modelscale.commands.pruning.bench import Bench, Retrained, begin_with
from modelscale.commands.pruning.sweep_eight_bits import EIGHT_BITS, Priced, in_eight_bits
from modelscale.commands.pruning.sweep_points import (
    Point,
    TrainedPoint,
    keep_point,
    points_of,
)
from modelscale.commands.pruning.sweep_sparse import sparse_points
from modelscale.commands.pruning.timing import speedup, timed
from modelscale.pruning.kinds.structured import Structured
from modelscale.pruning.section import Sweep

if TYPE_CHECKING:
    from modelscale.models.edits.base import EditSpec
    from modelscale.training.artifact import Model
    from modelscale.training.replica import Replica
    from modelscale.training.session import Session

TABLE = "points.csv"
TIMES = "latency-points.json"
PLOT = "plots/pareto.svg"
WHOLE = "1"
"""What the first model is called, all of whose MACs are left."""
_WIDTH = 760


def swept(
    bench: Bench, label: str, model: Model, section: Structured, sweep: Sweep
) -> Retrained:
    """Cut and train a model at every point of a sweep; return the picked one.

    Every point is kept in `points/<label>`, and the table of all in `points.csv`. Of one with
    eight bits that is picked, the float model is returned, and the facts say so.

    Raises:
        SpecError: If there is no validation part to pick by, or a point of whole units, or any
            at all, cannot be reached.
    """
    if not bench.has_validation:
        raise bench.shop.assembly.fault(
            "prune.sweep", "needs a validation part; give `data.split.validation`"
        )
    points = _trained(bench, label, points_of(bench, label, model, section, sweep), section)
    points += sparse_points(bench, label, model, section, sweep)
    if not points:
        raise bench.shop.assembly.fault("prune.sweep", "no point of it can be reached")
    priced = {point.label: _priced(point.trained.model) for point in points}
    if "int8" in sweep.methods:
        models = {name: entry.model for name, entry in priced.items()}
        priced |= in_eight_bits(bench, {WHOLE: model, **models})
    rows = _rows(bench, priced)
    chosen = _pick(rows, sweep)
    for number, row in enumerate(rows):
        row["picked"] = number == chosen
    bench.shop.run.write(TABLE, _csv(rows))
    _plot(bench, rows)
    untouched = TrainedPoint(WHOLE, {"units": {}}, Retrained(model, 0, {"epochs": 0}))
    name = rows[chosen]["point"]
    plain = name.removesuffix(EIGHT_BITS)
    picked = next(point for point in (*points, untouched) if point.label == plain)
    found = picked.facts | {"retrain": picked.trained.facts, "picked": name, "points": rows}
    if name != plain:
        drop = 0.0 if plain == WHOLE else next(r["drop"] for r in rows if r["point"] == plain)
        found["eight_bits"] = {"tolerance": max(0.0, sweep.within - drop)}
    return Retrained(picked.trained.model, picked.trained.step, found)


def _priced(model: Model) -> Priced:
    """Return a model as it is priced: by its file where that leaves zeros out."""
    from modelscale.models.edits.sparse import Sparse

    if any(isinstance(edit, Sparse) for edit in model.edits):
        return Priced(model, model.network, bytes=facts.size_of(model)["file_bytes"])
    return Priced(model, model.network)


def _trained(
    bench: Bench, label: str, points: list[Point], section: Structured
) -> list[TrainedPoint]:
    """Train all points, those of equal shapes in one cohort."""
    from modelscale.training.artifact import dump_model, load_model
    from modelscale.training.cohort import build_network
    from modelscale.training.layout import Layout

    epochs = [bench.epochs(section.retrain, bench.left(point.start)) for point in points]
    if not any(epochs):
        still = {"epochs": 0}
        return [TrainedPoint(p.label, p.facts, Retrained(p.start, 0, still)) for p in points]
    students = [
        replace(s, edits=tuple(map(_shape, s.edits)))
        for s in (
            bench.student(point.start, section.retrain, count)
            for point, count in zip(points, epochs, strict=True)
        )
    ]

    def begin(session: Session) -> None:
        _begin(session, students, points)

    rewound = section.retrain.rewind == "weights"
    outcomes = bench.shop.train_all(
        label, students, [p.label for p in points], begin=None if rewound else begin
    )
    made = []
    for point, student, outcome in zip(points, students, outcomes, strict=True):
        kept = replace(bench.replica, model=point.start.spec, edits=point.start.edits)
        files = dump_model(kept, outcome.weights, Layout.of(build_network(student)))
        best = outcome.progress.best_epoch > 0 and student.plan.keep == "best"
        step = outcome.progress.best_step if best else outcome.step
        ended = {"epochs": outcome.epoch, "ending": outcome.ending}
        trained = Retrained(load_model(files), step, ended)
        made.append(TrainedPoint(point.label, point.facts, trained))
        keep_point(bench, made[-1], files)
    return made


def _shape(edit: EditSpec) -> EditSpec:
    """Return an edit that makes the same shapes, whatever units it keeps.

    Replicas whose networks have equal shapes can train together; which units they came from
    is in their weights.
    """
    from modelscale.models.edits.cut import Cut, Kept
    from modelscale.models.modules.slicing import runs_of

    if not isinstance(edit, Cut) or edit.rewriting is not None:
        return edit
    left: dict[int, list[str]] = {}
    for entry in edit.kept:
        count = sum(stop - start for start, stop in runs_of(entry.positions))
        left.setdefault(count, []).extend(entry.tensors)
    kept = tuple(
        Kept(positions=f"0-{count - 1}" if count > 1 else "0", tensors=tuple(sorted(tensors)))
        for count, tensors in sorted(left.items())
    )
    return edit.model_copy(update={"kept": kept})


def _begin(session: Session, students: list[Replica], points: list[Point]) -> None:
    """Let each replica of a cohort begin with its own cut network's weights."""
    import torch

    from modelscale.training.cohort import Weights

    trainer = session.trainer
    if len(trainer.replicas) == 1:
        place = next(k for k, s in enumerate(students) if s is trainer.replicas[0])
        begin_with(points[place].start.network)(session)
        return
    layout, device = trainer.cohort.layout, trainer.cohort.device
    networks = [
        points[k].start.network
        for replica in trainer.replicas
        for k, student in enumerate(students)
        if student is replica
    ]
    theta_KP = torch.stack([layout.flatten(network) for network in networks]).to(device)
    named = [dict(network.named_buffers()) for network in networks]
    buffers = {
        name: torch.stack([own[name].detach().clone() for own in named]).to(device)
        for name in trainer.cohort.weights.buffers_K
    }
    trainer.cohort.replace(Weights(theta_KP, buffers))
    if trainer.average_KP is not None:
        trainer.average_KP = theta_KP.clone()


def _rows(bench: Bench, priced: dict[str, Priced]) -> list[dict[str, Any]]:
    """Return what each point is worth and costs, and whether another one beats it."""
    times = _times(bench, priced)
    label = bench.metric.label()
    rows = []
    for name, entry in priced.items():
        size, answering = facts.size_of(entry.model), entry.answering()
        if entry.bytes is not None:
            size["bytes"] = entry.bytes
        row: dict[str, Any] = {
            "point": name,
            **{k: size[k] for k in ("macs", "parameters", "bytes")},
            "runtime": entry.runtime,
            "ms_1": times[name]["1"]["ms"],
            "ms_128": times[name]["128"]["ms"],
            "speedup_1": times[name]["1"]["value"],
            "speedup_128": times[name]["128"]["value"],
            "drop": bench.drop(answering),
        }
        for part, found in facts.measured(bench, answering).items():
            interval = found.evaluation.to_json()["metrics"][label]
            row |= {f"{part}_{label}{k}": interval[v] for k, v in _ENDS.items()}
        rows.append(row)
    for row in rows:
        row["pareto"] = not any(_beats(other, row) for other in rows)
    return rows


_ENDS = {"": "value", "_low": "low", "_high": "high"}


def _beats(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether a point is nowhere worse and somewhere better: MACs against the metric."""
    better = one["macs"] < other["macs"] or one["drop"] < other["drop"]
    return bool(one["macs"] <= other["macs"] and one["drop"] <= other["drop"] and better)


def _times(bench: Bench, priced: dict[str, Priced]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return how much faster each point is in its runtime than the first model in PyTorch."""
    path = bench.shop.run.path / TIMES
    if not path.is_file():
        calls = {name: entry.call for name, entry in priced.items()}
        turns = timed({"first": bench.first.network, **calls}, bench.example)
        found = {
            name: {
                str(batch): speedup(turns["first"][batch], ms).to_json() | {"ms": median(ms)}
                for batch, ms in turns[name].items()
            }
            for name in calls
        }
        bench.shop.run.write(TIMES, json.dumps(found).encode())
    stored: dict[str, dict[str, dict[str, Any]]] = json.loads(path.read_bytes())
    return stored


def _pick(rows: list[dict[str, Any]], sweep: Sweep) -> int:
    """Return the point of fewest MACs and bytes within the budget, else what loses least.

    Eight bits are picked within the budget only: their file must keep to it as well.
    """
    within = [k for k, row in enumerate(rows) if row["drop"] <= sweep.within + 1e-9]
    if within:
        return min(within, key=lambda k: (*_cost(rows[k]), rows[k]["drop"], k))
    plain = [k for k, row in enumerate(rows) if not row["point"].endswith(EIGHT_BITS)]
    return min(plain, key=lambda k: (rows[k]["drop"], *_cost(rows[k]), k))


def _cost(row: dict[str, Any]) -> tuple[int, int]:
    return row["macs"], row["bytes"]


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def _plot(bench: Bench, rows: list[dict[str, Any]]) -> None:
    """Draw the metric against the MACs; nothing without the package that draws."""
    from modelscale.report.charts import TradeOff

    try:
        from modelscale.report.figures.drawing import style
        from modelscale.report.figures.trade_off import draw_trade_off
        from modelscale.report.svg import to_svg
    except ImportError:
        bench.shop.tell.detail("no plot: matplotlib is not installed")
        return
    label = bench.metric.label()
    up = bench.metric.direction == "maximize"
    block = TradeOff(
        title="Accuracy against work",
        x=tuple(float(row["macs"]) for row in rows),
        y=tuple(float(row[f"validation_{label}"]) for row in rows),
        front=tuple(k for k, row in enumerate(rows) if row["pareto"]),
        y_direction="maximize" if up else "minimize",
        x_label="MACs of an example",
        y_label=f"validation {label}",
        log_x=True,
    )
    with style():
        drawn = draw_trade_off(block, _WIDTH)
        if drawn.figure is not None:
            svg = to_svg(drawn.figure, block.title, drawn.description, "pareto")
            bench.shop.run.write(PLOT, svg.file)
