"""`modelscale evaluate`: what a trained model is worth, on its own data or on others."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from modelscale.commands.documents import clean
from modelscale.commands.trained_model import TrainedModel, answers, read_named
from modelscale.errors import UsageError
from modelscale.evaluation.metric_names import metric_for
from modelscale.evaluation.section import EvaluateSection, RankingSection
from modelscale.tensors import Part, Task

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.commands.experiment import Experiment
    from modelscale.commands.own_data import OwnData
    from modelscale.data.prepared import Prepared
    from modelscale.data.raw import Raw
    from modelscale.evaluation.metrics.base import MetricSpec

NEW = "new"
"""What stands for a part where the data is not the run's own."""
_GATE_FAILED = 3
_STANDARD: dict[Task, tuple[str, ...]] = {
    "classification": (
        "accuracy",
        "precision",
        "recall",
        "f1",
        "roc_auc",
        "average_precision",
        "log_loss",
        "calibration_error",
    ),
    "regression": ("rmse", "mae", "r2"),
    "language_model": ("perplexity", "bits_per_token"),
    "ranking": ("ndcg", "hit_rate", "mrr"),
    "pretraining": ("pretext_loss",),
    "transcription": ("word_error_rate", "character_error_rate"),
    "translation": ("token_accuracy", "token_perplexity", "chrf"),
}
_GATE = re.compile(r"([a-z0-9_]+)\s*(<=|>=|=)\s*(\S+)")


@dataclass(frozen=True)
class Gate:
    """A bound that a metric has to keep.

    Attributes:
        metric: The metric's label.
        sign: `>=` or `<=`, which of them `=` means is the metric's matter.
        bound: The number.
    """

    metric: str
    sign: str
    bound: float

    def holds(self, value: float) -> bool:
        """Return whether a value keeps the bound; one that is not defined does not."""
        if math.isnan(value):
            return False
        return value >= self.bound if self.sign == ">=" else value <= self.bound


@dataclass(frozen=True)
class Evaluated:
    """A model, measured.

    Attributes:
        document: The command's keys of the JSON document.
        faults: One line for each gate that failed.
    """

    document: dict[str, Any]
    faults: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """3 if a gate failed, otherwise 0."""
        return _GATE_FAILED if self.faults else 0

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        if not self.faults:
            return self.document
        failed = {"exit_code": self.exit_code, "messages": list(self.faults)}
        return {**self.document, "status": "error", **failed}


@dataclass(frozen=True)
class _Sample:
    """What the model is measured on."""

    name: str
    origin: str
    fingerprint: str
    predictions: Tensor
    targets: Tensor
    prepared: Prepared | None
    own: OwnData | None = None


def evaluate(
    trained: TrainedModel,
    *,
    data: str | None = None,
    part: Part | None = None,
    metrics: Sequence[str] = (),
    gates: Sequence[str] = (),
    accept_data_change: bool = False,
) -> Evaluated:
    """Measure a trained model with its own pre-processing, which is never fitted again.

    Args:
        trained: The model.
        data: A file, a folder or a name of the catalogue; None for the run's own data.
        part: Of the run's own data; None for the first of test, validation and train that
            has rows.
        metrics: Labels such as `f1_micro`; by default the spec's and the usual ones.
        gates: Bounds such as `accuracy=0.97` or `rmse<=55`.
        accept_data_change: Whether the run's data may have changed since.

    Raises:
        DataError: If the data has changed, or is not what the model takes.
        UsageError: If a metric or gate is not understood, or the run's data is not known.
    """
    from modelscale.commands.measuring import evaluate_all

    bounds = [gate_of(text, trained.model.task) for text in gates]
    wanted = _metrics(trained, metrics, [gate.metric for gate in bounds])
    if data is None:
        sample = _own_sample(trained, part, accept_data_change)
    elif part is not None:
        raise UsageError("--part is of the run's own data; leave it out with --data")
    else:
        sample = _new_sample(trained, data)
    experiment = trained.experiment
    section = EvaluateSection() if experiment is None else experiment.evaluate
    found = evaluate_all(trained.model, sample.predictions, sample.targets, wanted, section)
    told = found.to_json()
    values = {label: interval.value for label, interval in found.metrics.items()}
    document = {
        **trained.facts(),
        "data": {
            "origin": sample.origin,
            "fingerprint": sample.fingerprint,
            "rows": told.pop("count"),
        },
        "metrics": {sample.name: told.pop("metrics")},
        "baseline": {sample.name: _baseline(sample, wanted)},
        "labels": list(trained.model.preprocessing.labels),
        **told,
        **_asked_for(trained, sample, section),
        "gates": [
            {
                "metric": gate.metric,
                "bound": f"{gate.sign} {gate.bound:g}",
                "passed": gate.holds(values[gate.metric]),
            }
            for gate in bounds
        ],
    }
    faults = tuple(
        f"gate: {sample.name}/{gate.metric} is {values[gate.metric]:.6g}, "
        f"not {gate.sign} {gate.bound:g}"
        for gate in bounds
        if not gate.holds(values[gate.metric])
    )
    return Evaluated(dict(clean(document)), faults)


def _asked_for(
    trained: TrainedModel, sample: _Sample, section: EvaluateSection
) -> dict[str, Any]:
    """Return what the spec's `evaluate` section asks for beside metrics, on the run's data."""
    from modelscale.commands.alarming import alarms
    from modelscale.commands.deciding import decisions
    from modelscale.commands.measuring import targets_of
    from modelscale.commands.recommending import rankings

    found: dict[str, Any] = {}
    prepared, own = sample.prepared, sample.own
    if prepared is None or own is None:
        return found
    if section.costs is not None:
        rows = own.parts["validation"]
        chosen_on = (answers(trained, prepared.x, rows), targets_of(prepared, rows))
        measured_on = (sample.predictions, sample.targets)
        found["decisions"] = decisions(section, prepared, chosen_on, measured_on)
    if section.alarms is not None:
        rows = own.parts["validation"]
        seen = (answers(trained, prepared.x, rows), targets_of(prepared, rows))
        measured = (sample.predictions, sample.targets)
        part_rows = own.parts[cast(Part, sample.name)]
        found["alarms"] = alarms(section.alarms, own.raw, part_rows, seen, measured)
    ranking = section.ranking or _ranking_of(trained)
    if ranking is not None:
        part = cast(Part, sample.name)
        found["ranking"] = rankings(trained, own, part, ranking, section.confidence)
    return found


def _ranking_of(trained: TrainedModel) -> RankingSection | None:
    """Return how a model of rankings is measured where the spec does not say."""
    experiment = trained.experiment
    if trained.model.task != "ranking" or experiment is None:
        return None
    pair = experiment.data.interactions
    return None if pair is None else RankingSection(user=pair.user, item=pair.item)


def gate_of(text: str, task: Task) -> Gate:
    """Return the bound that a text such as `accuracy=0.97` or `rmse<=55` means.

    `=` means at least for metrics of which more is better, at most for the others.

    Raises:
        UsageError: If it is not understood.
    """
    match = _GATE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--gate {text}: expected METRIC=BOUND, such as accuracy=0.97")
    name, sign, number = match.groups()
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise UsageError(f"--gate {text}: {number!r} is not a number")
    metric = _metric(name, task, "--gate")
    if sign == "=":
        sign = ">=" if metric.direction == "maximize" else "<="
    return Gate(name, sign, bound)


def _metrics(
    trained: TrainedModel, asked: Sequence[str], gated: Sequence[str]
) -> tuple[MetricSpec, ...]:
    task = trained.model.task
    names = [name for text in asked for name in text.replace(" ", "").split(",") if name]
    found = {name: _metric(name, task, "--metrics") for name in names}
    if not found:
        found = {name: _metric(name, task, "") for name in _STANDARD[task]}
        own = () if trained.experiment is None else trained.experiment.metrics
        found |= {metric.label(): metric for metric in own}
    found |= {name: _metric(name, task, "--gate") for name in gated if name not in found}
    for name, metric in found.items():
        metric.require()
        if metric.binary_only and trained.model.targets != 2:
            raise UsageError(
                f"{name}: needs two classes, and the model has {trained.model.targets}"
            )
    return tuple(found.values())


def _metric(name: str, task: Task, option: str) -> MetricSpec:
    try:
        return metric_for(name, task)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _own_sample(trained: TrainedModel, part: Part | None, accept_change: bool) -> _Sample:
    """Return a part of the data that the run was trained on, read again."""
    from modelscale.commands.measuring import targets_of
    from modelscale.commands.own_data import read_own

    own = read_own(trained, accept_change=accept_change)
    raw, parts = own.raw, own.parts
    in_turn: tuple[Part, ...] = ("test", "validation", "train")
    chosen = next(name for name in in_turn if len(parts[name])) if part is None else part
    rows = parts[chosen]
    if len(rows) == 0:
        there = ", ".join(name for name, found in parts.items() if len(found))
        raise UsageError(f"--part {chosen}: the run has no such rows (one of: {there})")
    assert trained.experiment is not None
    prepared = _prepared(trained, trained.experiment, raw, parts, on_disk=own.on_disk)
    if trained.model.task == "ranking":
        return _ranked_sample(trained, chosen, prepared, own)
    return _Sample(
        chosen,
        raw.origin,
        raw.fingerprint,
        answers(trained, prepared.x, rows),
        targets_of(prepared, rows),
        prepared,
        own,
    )


def _ranked_sample(
    trained: TrainedModel, chosen: Part, prepared: Prepared, own: OwnData
) -> _Sample:
    """Return the places of the items of a part, in lists of all items."""
    from modelscale.commands.measuring import places

    found, raw = places(trained.model, prepared, chosen), own.raw
    return _Sample(
        chosen, raw.origin, raw.fingerprint, found.model, found.popular, prepared, own
    )


def _prepared(
    trained: TrainedModel,
    experiment: Experiment,
    raw: Raw,
    parts: dict[Part, Tensor],
    *,
    on_disk: bool,
) -> Prepared:
    """Return data as the model takes them, by what it learnt of its training part then."""
    import torch

    from modelscale.data.loading import items_of
    from modelscale.data.prepared import Prepared
    from modelscale.data.storage import transform

    model, cpu = trained.model, torch.device("cpu")
    key = experiment.data.source.model_dump_json() if on_disk else None
    x, section = transform(model.preprocessing, raw, cpu, key), experiment.data
    return Prepared(
        task=model.task,
        inputs=model.inputs,
        targets=model.targets,
        x=x,
        y=model.preprocessing.encode_target(raw),
        rows=parts,
        preprocessing=model.preprocessing,
        fingerprint=raw.fingerprint,
        items=items_of(model.task, section, raw, x, model.preprocessing, parts),
    )


def _new_sample(trained: TrainedModel, data: str) -> _Sample:
    """Return all rows of data that the run has not seen."""
    import torch

    from modelscale.data.loading import prepare_new

    raw = read_named(data, trained, with_target=True)
    preprocessing = trained.model.preprocessing
    fresh = prepare_new(preprocessing, raw)
    assert fresh.y is not None
    y = fresh.y
    targets = y if trained.model.task == "classification" else preprocessing.inverse_target(y)
    predictions = answers(trained, fresh.x, torch.arange(len(raw)))
    return _Sample(NEW, raw.origin, raw.fingerprint, predictions, targets, None)


def _baseline(sample: _Sample, metrics: Sequence[MetricSpec]) -> dict[str, float]:
    """Return what the best constant answer gets; nothing where the training part is unknown."""
    from modelscale.commands.measuring import plain_answers

    if sample.prepared is None or sample.prepared.task == "pretraining":
        return {}
    constant = sample.targets  # of a ranking: the places by popularity
    if sample.prepared.task != "ranking":
        constant = plain_answers(sample.prepared, sample.prepared.rows[cast(Part, sample.name)])
    return {m.label(): float(m.compute(constant, sample.targets)) for m in metrics}
