"""What a trained replica is worth on a part of its data, beside the plainest of answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.data.prepared import Prepared
    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.evaluation.section import EvaluateSection
    from modelscale.evaluation.summary import Evaluation
    from modelscale.tensors import Part
    from modelscale.training.artifact import Model
    from modelscale.training.ranked import Places

EXAMPLES_AT_ONCE = 2048


@dataclass(frozen=True)
class Measured:
    """A model on one part of the data.

    Attributes:
        evaluation: Metrics with intervals, and the tables behind them.
        baseline: The metrics of the constant answer that is best on the training part; none
            for pre-training, where nothing is asked for.
        predictions: (N, C) class probabilities or (N, T) target values.
        targets: (N,) class indices or (N, T) target values, in the data's units.
        rows: (N,) their rows in the data.
    """

    evaluation: Evaluation
    baseline: dict[str, float]
    predictions: Tensor
    targets: Tensor
    rows: Tensor


def measure(
    model: Model,
    data: Prepared,
    part: Part,
    metrics: tuple[MetricSpec, ...],
    section: EvaluateSection,
) -> Measured:
    """Return what a model is worth on a part of prepared data."""
    if data.task == "ranking":
        found = places(model, data, part)
        told = evaluate_all(model, found.model, found.popular, metrics, section)
        plain = {m.label(): float(m.compute(found.popular, found.popular)) for m in metrics}
        return Measured(told, plain, found.model, found.popular, found.rows)
    rows = data.rows[part].cpu()
    predictions = predict(model, data, rows)
    targets = targets_of(data, rows)
    evaluation = evaluate_all(model, predictions, targets, metrics, section)
    baseline = {}
    if data.task != "pretraining":
        constant = plain_answers(data, rows)
        baseline = {m.label(): float(m.compute(constant, targets)) for m in metrics}
    return Measured(evaluation, baseline, predictions, targets, rows)


def places(model: Model, data: Prepared, part: Part) -> Places:
    """Return the places of a part's items in their users' lists of all items, on the CPU."""
    import torch

    from modelscale.training.ranked import Places, ranks

    def score(x: Tensor) -> Tensor:
        pieces = [model.predictions(some.cpu())[:, 0] for some in x.split(EXAMPLES_AT_ONCE)]
        return torch.cat(pieces).to(x.device)

    found = ranks(data, score, part)
    return Places(found.rows.cpu(), found.model.cpu(), found.popular.cpu())


def evaluate_all(
    model: Model,
    predictions: Tensor,
    targets: Tensor,
    metrics: tuple[MetricSpec, ...],
    section: EvaluateSection,
) -> Evaluation:
    """Return metrics with intervals of predictions in the data's units."""
    from modelscale.evaluation.summary import evaluate

    labels = model.preprocessing.labels or model.preprocessing.target_names
    return evaluate(predictions, targets, metrics, labels, section, model.task)


def predict(model: Model, data: Prepared, rows: Tensor) -> Tensor:
    """Return the model's answers for rows of prepared data, on the CPU."""
    from modelscale.training.translating import joined

    pieces = [
        model.predictions(data.x.take(some.to(data.y.device)).cpu())
        for some in rows.split(EXAMPLES_AT_ONCE)
    ]
    return joined(pieces)


def targets_of(data: Prepared, rows: Tensor) -> Tensor:
    """Return class indices, or target values in the data's own units, on the CPU."""
    y = data.y.cpu()[rows]
    return y if data.task == "classification" else data.preprocessing.inverse_target(y)


def plain_answers(data: Prepared, rows: Tensor) -> Tensor:
    """Return the plainest answers for some rows: the constant one that is best in training.

    Of translations, that of how often each symbol is written; it writes nothing itself.
    """
    from modelscale.data.pairs import foreseen_by_counts

    if data.task == "translation":
        y, train = data.y.cpu(), data.rows["train"].cpu()
        return foreseen_by_counts(data.preprocessing, y[train], y[rows])
    return constant_answer(data).expand(len(rows), -1)


def constant_answer(data: Prepared) -> Tensor:
    """Return (1, C) class shares, or (1, T) mean targets, of the training part.

    Where something is to be written, nothing is.
    """
    if data.task == "transcription":
        return targets_of(data, data.rows["train"][:1].cpu()) * 0  # nothing is written
    train = targets_of(data, data.rows["train"].cpu())
    if data.task == "classification":
        counts = train.bincount(minlength=data.targets).float()
        return (counts / counts.sum())[None]
    return train.mean(dim=0, keepdim=True)


def spread(repetitions: list[dict[Part, Measured]]) -> dict[Part, dict[str, Any]]:
    """Return each metric of each part over repetitions, such as seeds or folds.

    The mean, its interval by Student's t over the repetitions, and their deviation.
    """
    from modelscale.evaluation.student import mean_over_seeds

    summary: dict[Part, dict[str, Any]] = {}
    for part, measured in repetitions[0].items():
        for label in measured.evaluation.metrics:
            found = [parts[part].evaluation.metrics[label] for parts in repetitions]
            mean = mean_over_seeds([f.value for f in found], possible=found[0].possible)
            summary.setdefault(part, {})[label] = {
                "value": mean.mean,
                "low": mean.low,
                "high": mean.high,
                "std": mean.std,
                "members": mean.n,
            }
    return summary
