"""Everything that is said of a model's predictions on one part of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from modelscale.evaluation.intervals import Interval, bootstrap_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.evaluation.section import EvaluateSection
    from modelscale.tensors import Task

_CALIBRATION_BINS = 15


@dataclass(frozen=True)
class ClassReport:
    """How one class fares.

    Attributes:
        label: The class.
        precision: Share of the examples predicted as the class that are of it; 0 for 0/0.
        recall: Share of the class's examples that are predicted as it; 0 for 0/0.
        f1: Harmonic mean of the two; 0 for 0/0.
        support: Examples of the class.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class CalibrationBin:
    """Examples whose most probable class has a probability in (low, high].

    Attributes:
        low: Lower edge; the first bin holds it too.
        high: Upper edge.
        confidence: Mean probability of the most probable class; NaN in an empty bin.
        accuracy: Share for which that class is right; NaN in an empty bin.
        count: Examples in the bin.
    """

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class ResidualQuantiles:
    """Prediction minus target of one target value, in its units.

    Attributes:
        label: The target value.
        mean: Mean residual, the bias.
        q05: 5 % of the residuals are below.
        q25: 25 % are below.
        q50: The median.
        q75: 75 % are below.
        q95: 95 % are below.
    """

    label: str
    mean: float
    q05: float
    q25: float
    q50: float
    q75: float
    q95: float


@dataclass(frozen=True)
class Evaluation:
    """A model's predictions on one part of the data, measured.

    Attributes:
        count: Examples.
        metrics: By label, each with its interval.
        classes: One entry a class; empty for regression.
        confusion: Examples of class i predicted as class j, at [i][j]; empty for regression,
            and where a prediction is not a number.
        calibration: Bins of equal width; empty for regression.
        residuals: One entry a target value; empty for classification and rankings. For language
            models, the model's nats minus those of the plainest model.
    """

    count: int
    metrics: dict[str, Interval]
    classes: tuple[ClassReport, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    residuals: tuple[ResidualQuantiles, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; numbers that are not finite are null."""
        json: dict[str, Any] = {
            "count": self.count,
            "metrics": {name: interval.to_json() for name, interval in self.metrics.items()},
        }
        if self.classes:
            json["classes"] = [_plain(entry) for entry in self.classes]
            json["confusion"] = [list(row) for row in self.confusion]
            json["calibration"] = [_plain(entry) for entry in self.calibration]
        else:
            json["residuals"] = [_plain(entry) for entry in self.residuals]
        return json


def evaluate(
    predictions: Tensor,
    targets: Tensor,
    metrics: Sequence[MetricSpec],
    labels: Sequence[str],
    section: EvaluateSection,
    task: Task,
) -> Evaluation:
    """Return the metrics with intervals, and the tables that explain them.

    Args:
        predictions: (N, C) class probabilities, or (N, T) target values.
        targets: (N,) class indices, or (N, T) target values.
        metrics: What is measured; their task is `task`.
        labels: Names of the C classes or T target values.
        section: Of the intervals.
        task: What was learnt.
    """
    texts = task in {"transcription", "translation"}
    plain = texts or task == "ranking"  # a place in a list minus 1 is no error to tell
    assert texts or predictions.shape[1] == len(labels)
    found = bootstrap_all(
        metrics, predictions, targets, section.resamples, section.confidence, section.seed
    )
    named = {metric.label(): interval for metric, interval in zip(metrics, found, strict=True)}
    if plain:
        return Evaluation(len(targets), named)
    if task != "classification":
        return Evaluation(
            len(targets), named, residuals=_residuals(predictions, targets, labels)
        )
    return Evaluation(
        len(targets),
        named,
        classes=_classes(predictions, targets, labels),
        confusion=_confusion(predictions, targets),
        calibration=calibration_curve(predictions, targets, _CALIBRATION_BINS),
    )


def calibration_curve(
    predictions: Tensor, targets: Tensor, bins: int
) -> tuple[CalibrationBin, ...]:
    """Return how often the most probable class is right, by its probability.

    Args:
        predictions: (N, C) class probabilities.
        targets: (N,) class indices.
        bins: Bins of equal width from 0 to 1, as in the `calibration_error` metric.
    """
    from modelscale.evaluation.metrics._classes import confidence_bins, predicted_classes

    found = predicted_classes(predictions)
    bin_N = confidence_bins(predictions, bins).masked_fill(found.broken_N, -1)
    right_N = (found.classes_N == targets).double()
    top_N = predictions.amax(-1).double()
    curve = []
    for b in range(bins):
        inside_N = bin_N == b
        curve.append(
            CalibrationBin(
                b / bins,
                (b + 1) / bins,
                top_N[inside_N].mean().item(),
                right_N[inside_N].mean().item(),
                int(inside_N.sum()),
            )
        )
    return tuple(curve)


def _classes(
    predictions: Tensor, targets: Tensor, labels: Sequence[str]
) -> tuple[ClassReport, ...]:
    from modelscale.evaluation.metrics._classes import class_counts
    from modelscale.evaluation.metrics.f1 import F1
    from modelscale.evaluation.metrics.precision import Precision
    from modelscale.evaluation.metrics.recall import Recall

    *counts_C, broken_N = class_counts(predictions, targets)
    broken = bool(broken_N.any())
    scores = [
        [math.nan if broken else score for score in kind.score(*counts_C).tolist()]
        for kind in (Precision, Recall, F1)
    ]
    support_C = counts_C[2].long().tolist()
    return tuple(ClassReport(*row) for row in zip(labels, *scores, support_C, strict=True))


def _confusion(predictions: Tensor, targets: Tensor) -> tuple[tuple[int, ...], ...]:
    from modelscale.evaluation.metrics._classes import count_of_each, predicted_classes

    C = predictions.shape[-1]
    found = predicted_classes(predictions)
    if found.broken_N.any():
        return ()
    counts = count_of_each(targets * C + found.classes_N, C * C)
    return tuple(tuple(row) for row in counts.reshape(C, C).long().tolist())


def _residuals(
    predictions: Tensor, targets: Tensor, labels: Sequence[str]
) -> tuple[ResidualQuantiles, ...]:
    residuals_NT = predictions.double() - targets.double()
    reports = []
    for t, label in enumerate(labels):
        ordered = residuals_NT[:, t].sort().values
        quantiles = [_quantile(ordered, level) for level in (0.05, 0.25, 0.5, 0.75, 0.95)]
        reports.append(ResidualQuantiles(label, residuals_NT[:, t].mean().item(), *quantiles))
    return tuple(reports)


def _quantile(ordered_N: Tensor, level: float) -> float:
    """Return a quantile, linear between neighbours; `Tensor.quantile` stops at 2**24 values."""
    if len(ordered_N) == 0 or ordered_N[-1].isnan():
        return math.nan
    place = level * (len(ordered_N) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered_N) - 1)
    low, high = ordered_N[below].item(), ordered_N[above].item()
    return low + (high - low) * (place - below)


def _plain(entry: ClassReport | CalibrationBin | ResidualQuantiles) -> dict[str, Any]:
    """Return the entry as a mapping, with null for numbers that are not finite."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
