"""From trained members to the ensemble's checkpoint, its tables and its document."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modelscale.commands.documents import clean
from modelscale.commands.ensembling.costs import costs_of
from modelscale.commands.ensembling.evidence import (
    Singles,
    compared,
    curve_of,
    diversity_of,
    evidence_metrics,
    singles_of,
    uncalibrated,
    verdict_of,
)
from modelscale.commands.ensembling.judging import Built, in_units, targets_for
from modelscale.ensembling.temperature import Temperature, fit_temperature
from modelscale.evaluation.metric_names import metric_for

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.assembly import Assembly
    from modelscale.commands.measuring import Measured
    from modelscale.data.prepared import Prepared
    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.runs.folder import RunFolder
    from modelscale.tensors import Part

_PARTS: tuple[Part, ...] = ("validation", "test")


class Finished:
    """An ensemble that is made, saved and measured.

    Attributes:
        model: As it is read back from its files.
        measured: What it is worth, by part.
        document: Of the command.
        comparison: The part of the document that says what it gains.
        part: Where that was measured.
        metrics: What was measured.
    """

    def __init__(
        self,
        run: RunFolder,
        assembly: Assembly,
        built: Built,
        seconds: float,
        *,
        trains: bool,
    ) -> None:
        """Save the checkpoint and the tables of predictions; measure everything."""
        from modelscale.commands.measuring import measure
        from modelscale.training.artifact import load_model
        from modelscale.training.ensemble_artifact import load_predictor

        self.built, self.data = built, data_of(assembly)
        self.metrics = evidence_metrics(assembly)
        temperature = _temperature(assembly, built, self.data)
        files = files_of(built, self.data, temperature)
        _save(run, built.step, files)
        self.model = load_predictor(files)
        evaluate = assembly.experiment.evaluate
        parts = [part for part in _PARTS if len(self.data.rows[part])]
        self.measured: dict[Part, Measured] = {
            part: measure(self.model, self.data, part, self.metrics, evaluate) for part in parts
        }
        singles = singles_of(built, self.data, parts)
        self.part: Part | None = parts[-1] if parts else None
        self.comparison: dict[str, Any] = {}
        first = built.reference or built.members[singles.best * built.group]
        costs = costs_of(self.model, load_model(first.files), seconds, assembly, trains=trains)
        rows = _member_rows(built, singles, self.metrics, self.measured)
        self.document: dict[str, Any] = {
            "metrics": {p: m.evaluation.to_json()["metrics"] for p, m in self.measured.items()},
            "baseline": {p: m.baseline for p, m in self.measured.items()},
            "method": _method(assembly, built),
            "best_member": singles.labels[singles.best],
            "members": rows,
            "models": len(built.members),
            "selection": _selection(built, self.data, self.metrics, assembly),
            "out_of_bag": _out_of_bag(built, self.data, self.metrics, assembly),
            "calibration": self._calibration(temperature),
            "cost": costs,
            "model": {k: costs["ensemble"][k] for k in ("parameters", "macs", "bytes")},
            "seconds": round(seconds, 3),
        }
        if self.part is not None:
            self._compare(singles, assembly)
        _write_tables(run, self.measured, assembly, rows)

    def _compare(self, singles: Singles, assembly: Assembly) -> None:
        assert self.part is not None
        part, built, metrics = self.part, self.built, self.metrics
        measured, task = self.measured[part], assembly.loaded.task
        section = assembly.experiment.evaluate
        self.comparison = compared(measured, singles, part, metrics, section)
        costs = self.document["cost"]
        times = costs["ensemble"]["macs"] / max(1, costs["member"]["macs"])
        verdict = verdict_of(self.comparison, task, part, times)
        diversity = diversity_of(singles, measured, part, task)
        self.document |= {
            "comparison": {part: self.comparison},
            "diversity": {part: None if diversity is None else asdict(diversity)},
            "curve": {part: curve_of(built, singles, self.data, part, metrics)},
            "worth_it": verdict.worth_it,
            "verdict": verdict.text,
        }

    def _calibration(self, temperature: Temperature | None) -> dict[str, Any] | None:
        """Return what the temperature does to log-loss and calibration, by part."""
        if temperature is None:
            return None
        names = ("log_loss", "calibration_error")
        found: dict[str, Any] = {
            "temperature": temperature.value if temperature.is_sure else 1.0,
            "fitted": temperature.value,
            "gain_nats": temperature.gain,
            "fitted_on": self.built.origin,
        }
        for part, measured in self.measured.items():
            before = uncalibrated(self.model, self.data, part)
            values = {}
            for name in names:
                metric = metric_for(name, "classification")
                values[name] = {
                    "before": float(metric.compute(before, measured.targets)),
                    "after": float(metric.compute(measured.predictions, measured.targets)),
                }
            found[part] = values
        return found


def data_of(assembly: Assembly) -> Prepared:
    """Return the data as the members see them."""
    return assembly.data(0, assembly.experiment.model.encoding)


def files_of(
    built: Built, data: Prepared, temperature: Temperature | None
) -> Mapping[str, bytes]:
    """Return the checkpoint's files: of the ensemble, or of the one model of a soup."""
    from modelscale.training.ensemble_artifact import Blueprint, dump_ensemble

    if built.single is not None:
        return built.single
    group = built.group
    kept = [built.members[m * group + k] for m in built.combined.kept for k in range(group)]
    value = temperature.value if temperature is not None and temperature.is_sure else 1.0
    blueprint = Blueprint(built.combined.combination, group, value, data.task, data.targets)
    return dump_ensemble(kept, blueprint)


def _temperature(assembly: Assembly, built: Built, data: Prepared) -> Temperature | None:
    section = assembly.experiment.ensemble
    wanted = section is not None and section.temperature and data.task == "classification"
    if not wanted or built.single is not None or len(built.rows) == 0:
        return None
    return fit_temperature(built.combined.held_out, targets_for(data, built.rows))


def _save(run: RunFolder, step: int, files: Mapping[str, bytes]) -> None:
    store = run.checkpoints()
    store.save(step, files)
    store.point("best", step)
    store.prune(keep={step}, newest=1)


def _method(assembly: Assembly, built: Built) -> dict[str, Any]:
    section = assembly.experiment.ensemble
    assert section is not None
    kind = "soup" if built.single is not None else built.combined.combination.kind
    notes = built.combined.notes
    own = {key: value for key, value in notes.items() if key not in {"scores", "shares"}}
    if "order" in own and isinstance(own["order"], list):
        own["order"] = [built.labels[m] for m in own["order"]]
    found = {"kind": section.own_kind(), "combination": kind, "folds": section.inner_folds}
    return {**found, **own, **built.notes}


def _selection(
    built: Built, data: Prepared, metrics: tuple[MetricSpec, ...], assembly: Assembly
) -> dict[str, Any]:
    """Return what the ensemble is worth on the rows that decided, without temperature."""
    found: dict[str, Any] = {"origin": built.origin, "rows": len(built.rows), "metrics": {}}
    if len(built.rows):
        found["metrics"] = _evaluated(
            built.combined.held_out, built.rows, data, metrics, assembly
        )
    return found


def _out_of_bag(
    built: Built, data: Prepared, metrics: tuple[MetricSpec, ...], assembly: Assembly
) -> dict[str, Any] | None:
    bag = built.out_of_bag
    if bag is None:
        return None
    found = _evaluated(bag.mean, bag.rows, data, metrics, assembly)
    return {"rows": len(bag.rows), "metrics": found}


def _evaluated(
    answers: Tensor,
    rows: Tensor,
    data: Prepared,
    metrics: tuple[MetricSpec, ...],
    assembly: Assembly,
) -> dict[str, Any]:
    from modelscale.commands.measuring import targets_of
    from modelscale.evaluation.intervals import bootstrap_all

    how = assembly.experiment.evaluate
    predictions = in_units(answers.float(), data)
    found = bootstrap_all(
        metrics, predictions, targets_of(data, rows), how.resamples, how.confidence, how.seed
    )
    return {m.label(): i.to_json() for m, i in zip(metrics, found, strict=True)}


def _member_rows(
    built: Built,
    singles: Singles,
    metrics: tuple[MetricSpec, ...],
    measured: dict[Part, Measured],
) -> list[dict[str, Any]]:
    """Return one entry a candidate: its setting, its part in the ensemble, what it is worth."""
    weights = _weights(built)
    rows = []
    for place, label in enumerate(built.labels):
        candidate = built.candidates.get(label)
        row: dict[str, Any] = {
            "label": label,
            "seed": None if candidate is None else candidate.seed,
            "params": {} if candidate is None else candidate.params,
            "weight": weights[place],
            "score": built.scores[place] if built.scores else None,
            "metrics": {},
        }
        if built.reference is None:
            for part, found in measured.items():
                own = singles.candidates[part][place]
                row["metrics"][part] = {
                    m.label(): float(m.compute(own, found.targets)) for m in metrics
                }
        rows.append(row)
    return rows


def _weights(built: Built) -> list[float | None]:
    """Return each candidate's weight; None where a meta-learner has no one number for it."""
    count = len(built.labels)
    if built.single is not None:
        return [
            1 / len(built.combined.kept) if m in built.combined.kept else 0.0
            for m in range(count)
        ]
    state = built.combined.combination.state_dict()
    name = next((n for n in ("weight_M", "scale_M") if n in state), None)
    if name is None:
        return [None] * count
    own = dict(zip(built.combined.kept, state[name].tolist(), strict=True))
    return [own.get(m, 0.0) for m in range(count)]


def _write_tables(
    run: RunFolder,
    measured: dict[Part, Measured],
    assembly: Assembly,
    rows: list[dict[str, Any]],
) -> None:
    from modelscale.commands.members import predictions_csv

    replica = assembly.replica(0, assembly.experiment.seed)
    for part, found in measured.items():
        run.write(f"predictions-{part}.csv", predictions_csv(found, replica))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    heads = [f"{p}/{label}" for p, own in rows[0]["metrics"].items() for label in own]
    table.writerow(["member", "seed", "params", "weight", "score", *heads])
    for row in rows:
        values = [value for own in row["metrics"].values() for value in own.values()]
        told = [row["weight"], row["score"], *values]
        cells = ["" if v is None else f"{v:.9g}" for v in told]
        params = json.dumps(row["params"]) if row["params"] else ""
        table.writerow([row["label"], row["seed"], params, *cells])
    run.write("members.csv", text.getvalue().encode())


def cleaned(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document that JSON can hold."""
    return dict(clean(document))
