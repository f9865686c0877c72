"""What replicas are worth on a part of their data, measured during training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.training.candidates import mean_loss
from modelscale.training.cohort import Cohort, Weights
from modelscale.training.ranked import ranks
from modelscale.training.replica import Replica

EXAMPLES_AT_ONCE = 4096
"""Examples of all replicas together in one forward pass of a validation."""

MOST_SCORES = 2_000_000
"""Scores of a user and an item that a validation during training makes at most."""

Values = dict[str, float]  # "loss" and the metrics' labels; NaN where not defined


@dataclass(frozen=True)
class Monitor:
    """The number that decides which epoch, replica or trial is best.

    Attributes:
        label: "loss" or the label of a metric.
        maximize: Whether larger is better.
    """

    label: str
    maximize: bool

    def score(self, values: Values) -> float:
        """Return the number with larger being better; -inf where it is not defined."""
        value = values.get(self.label, math.nan)
        if math.isnan(value):
            return -math.inf
        return value if self.maximize else -value


def outputs_of(cohort: Cohort, weights: Weights, rows_KN: Tensor, *, shared: bool) -> Tensor:
    """Return the network outputs (K, N, O) of each replica's own rows.

    Args:
        cohort: The replicas.
        weights: What they know.
        rows_KN: Rows of each replica's data.
        shared: Whether data and rows are the same for all replicas.
    """
    # Whole groups, as a contrast in evaluation is among 32 examples that follow each other.
    size = max(32, EXAMPLES_AT_ONCE // len(cohort) // 32 * 32)
    pieces = []
    for rows_KB in rows_KN.split(size, dim=1):
        if shared:
            x = cohort.replicas[0].data.x.take(rows_KB[0])
        else:
            x = torch.stack(
                [r.data.x.take(rows) for r, rows in zip(cohort.replicas, rows_KB, strict=True)]
            )
        pieces.append(cohort.outputs(weights, x, shared=shared).float())
    return torch.cat(pieces, dim=1)


def validate(cohort: Cohort, weights: Weights, metrics: tuple[MetricSpec, ...]) -> list[Values]:
    """Return the loss and the metrics of each replica on its validation part."""
    replicas = cohort.replicas
    if replicas[0].ranks:
        return [_ranked(cohort, weights, k, metrics) for k in range(len(cohort))]
    parts = [r.data.rows["validation"] for r in replicas]
    shared = all(r.data is replicas[0].data for r in replicas)
    longest = max(len(rows) for rows in parts)
    rows_KN = torch.stack([_padded(rows, longest) for rows in parts]).to(cohort.device)
    outputs_KNO = outputs_of(cohort, weights, rows_KN, shared=shared)
    if shared:
        return _values(replicas[0], outputs_KNO, parts[0], metrics)
    return [
        _values(replica, outputs_KNO[k : k + 1, : len(rows)], rows, metrics)[0]
        for k, (replica, rows) in enumerate(zip(replicas, parts, strict=True))
    ]


def _ranked(
    cohort: Cohort, weights: Weights, k: int, metrics: tuple[MetricSpec, ...]
) -> Values:
    """Return the loss beside fixed other items, and metrics of some users' whole lists."""
    replica = cohort.replicas[k]

    def score(x: Tensor) -> Tensor:
        pieces = [cohort.outputs_of_one(weights, k, some) for some in x.split(EXAMPLES_AT_ONCE)]
        return torch.cat(pieces)[:, 0].float()

    rows = replica.data.rows["validation"]
    values = {"loss": mean_loss(replica, score, rows)}
    if metrics:
        places = ranks(replica.data, score, "validation", most_scores=MOST_SCORES)
        for metric in metrics:
            values[metric.label()] = float(metric.compute(places.model, places.popular))
    return values


def _padded(rows: Tensor, length: int) -> Tensor:
    return torch.cat([rows, rows[:1].expand(length - len(rows))])


def _values(
    replica: Replica, outputs_KNO: Tensor, rows: Tensor, metrics: tuple[MetricSpec, ...]
) -> list[Values]:
    y_N = replica.data.y[rows.to(replica.data.y.device)]
    count = len(outputs_KNO)
    repeated = y_N.expand(count, *y_N.shape).flatten(0, 1)
    losses = replica.loss.per_example(outputs_KNO.flatten(0, 1), repeated)
    columns = {"loss": replica.loss.over(losses.view(count, -1)).tolist()}
    if metrics:
        predictions, targets = answers(replica, outputs_KNO, y_N)
        for metric in metrics:
            columns[metric.label()] = metric.compute(predictions, targets).tolist()
    return [{label: column[k] for label, column in columns.items()} for k in range(count)]


def answers(replica: Replica, outputs_KNO: Tensor, y_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return predictions (K, N, …) and targets (N, …) in the user's own units."""
    predictions = replica.loss.quick_predictions(outputs_KNO)
    inverse = replica.data.preprocessing.inverse_target
    if replica.data.task == "classification":
        return predictions, y_N
    if replica.data.task == "translation":
        return predictions, inverse(y_N)
    return inverse(predictions), inverse(y_N)
