"""The proof: an exported file beside the model that it is of, on real examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscale.evaluation.intervals import Interval, paired_difference

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.evaluation.section import EvaluateSection

_AS_A_SHARE = {"mae", "rmse", "perplexity"}
"""Metrics whose size depends on the data."""


@dataclass(frozen=True)
class MetricParity:
    """One metric of the model and of the file, on the same examples.

    Attributes:
        label: The metric's.
        model: Value of the model.
        artifact: Value of the file.
        difference: The file's minus the model's, with its interval.
        loss: How much worse the file is, 0 if it is not; as a share of the model's value for
            metrics in the target's units, and for perplexity.
    """

    label: str
    model: float
    artifact: float
    difference: Interval
    loss: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "model": self.model,
            "artifact": self.artifact,
            "difference": self.difference.to_json(),
        }


class Gap(NamedTuple):
    """The largest difference between two answers to the same rows.

    Attributes:
        largest: Of any number.
        scaled: Of any number as a share of its scale, where it has one.
    """

    largest: float
    scaled: float

    def or_larger(self, other: Gap) -> Gap:
        """Return the larger ones of two."""
        return Gap(max(self.largest, other.largest), max(self.scaled, other.scaled))


@dataclass(frozen=True)
class Parity:
    """How near an exported file is to its model.

    Attributes:
        rows: Examples that were compared.
        max_abs_diff: Largest difference of a probability or a logit, or of a value in its own
            unit.
        max_scaled_diff: The same, for values as a share of the larger of the value and the
            standard deviation of its target over the examples, for logits of the larger of
            the logit and 1; what a tolerance is held to.
        metrics: Metrics of both; the first one is the main one. Empty without targets.
    """

    rows: int
    max_abs_diff: float
    max_scaled_diff: float
    metrics: tuple[MetricParity, ...]

    @property
    def metric_diff(self) -> float | None:
        """The file's main metric minus the model's."""
        return self.metrics[0].difference.value if self.metrics else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "rows": self.rows,
            "max_abs_diff": self.max_abs_diff,
            "max_scaled_diff": self.max_scaled_diff,
            "metric": self.metrics[0].label if self.metrics else None,
            "metric_diff": self.metric_diff,
            "metrics": {metric.label: metric.to_json() for metric in self.metrics},
        }


def compare(
    expected: Tensor,
    found: Tensor,
    targets: Tensor,
    metrics: Sequence[MetricSpec],
    section: EvaluateSection,
    logits: Gap | None = None,
) -> Parity:
    """Return how near a file's answers are to the model's.

    Args:
        expected: (N, C) probabilities or (N, T) values of the model.
        found: The same of the file.
        targets: (N,) classes or (N, T) values in the data's units.
        metrics: What is compared beside the answers; the main one first.
        section: Of the intervals.
        logits: How far those are off that the answers were read from; None where the file
            gives the answers themselves.
    """
    import torch

    if found.shape != expected.shape:
        return Parity(len(targets), math.inf, math.inf, ())
    told = tuple(_metric(metric, expected, found, targets, section) for metric in metrics)
    if logits is not None:
        return Parity(len(targets), logits.largest, logits.scaled, told)
    gap = _gap(expected, found)
    scale = torch.ones_like(gap)
    if targets.dim() == 2:
        spread_T = targets.double().std(dim=0, correction=0)
        scale = torch.maximum(expected.double().abs(), spread_T).nan_to_num(nan=1.0)
        scale = torch.where(scale > 0, scale, 1.0)
    return Parity(len(targets), gap.max().item(), (gap / scale).max().item(), told)


def gap_of_logits(expected: Tensor, found: Tensor) -> Gap:
    """Return how far logits are off, as they are and as a share of the larger of them and 1."""
    if found.shape != expected.shape:
        return Gap(math.inf, math.inf)
    gap = _gap(expected, found)
    scaled = gap / expected.double().abs().nan_to_num(nan=1.0).clamp(min=1.0)
    return Gap(gap.max().item(), scaled.max().item())


def _gap(expected: Tensor, found: Tensor) -> Tensor:
    """Return how far each number is off, float64."""
    import torch

    gap = (found.double() - expected.double()).abs()
    # The same infinity or not-a-number on both sides is no difference.
    same = (found == expected) | (found.isnan() & expected.isnan())
    return torch.where(same, 0.0, gap).nan_to_num(nan=math.inf, posinf=math.inf)


def _metric(
    metric: MetricSpec,
    expected: Tensor,
    found: Tensor,
    targets: Tensor,
    section: EvaluateSection,
) -> MetricParity:
    model = metric.compute(expected, targets).item()
    artifact = metric.compute(found, targets).item()
    difference = paired_difference(
        metric, found, expected, targets, section.resamples, section.confidence, section.seed
    )
    worse = difference.value if metric.direction == "minimize" else -difference.value
    if metric.own_kind() in _AS_A_SHARE and model > 0:
        worse /= model
    if math.isnan(difference.value):
        worse = 0.0 if math.isnan(model) and math.isnan(artifact) else math.inf
    return MetricParity(metric.label(), model, artifact, difference, max(0.0, worse))
