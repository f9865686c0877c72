"""Answers of candidates for rows that none of them has learnt from: what combining sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.training.combination import Combination


@dataclass(frozen=True)
class Answers:
    """Candidates' answers for the rows of selection.

    Attributes:
        task: What is learnt.
        answers_MNA: Log-probabilities (M, N, C), or values as the networks see them (M, N, T).
        targets_N: (N,) class indices, or (N, T) values as the networks see them.
        metric: What a selection is judged by; None for log-loss or squared error.
        seed: Of everything random.
    """

    task: Task
    answers_MNA: Tensor
    targets_N: Tensor
    metric: MetricSpec | None
    seed: int

    def plain(self) -> Tensor:
        """Return probabilities (M, N, C) or values (M, N, T)."""
        return self.answers_MNA.exp() if self.task == "classification" else self.answers_MNA

    def scores(self, predictions: Tensor) -> Tensor:
        """Return (…, 2): what is judged by, and for ties log-likelihood or squared error."""
        import torch

        loss = replace(self, metric=None)
        return torch.stack([self.score(predictions), loss.score(predictions)], dim=-1)

    def score(self, predictions: Tensor) -> Tensor:
        """Return how good predictions (…, N, A) are, (…); larger is better."""
        import torch

        if self.metric is not None:
            sign = 1 if self.metric.direction == "maximize" else -1
            return sign * self.metric.compute(predictions, self.targets_N)
        if self.task == "regression":
            return -(predictions - self.targets_N).square().mean(dim=(-1, -2))
        true_N = predictions.gather(
            -1, self.targets_N.expand(predictions.shape[:-1])[..., None]
        )[..., 0]
        return true_N.clamp_min(torch.finfo(torch.float32).tiny).log().mean(dim=-1)


@dataclass(frozen=True)
class Combined:
    """How candidates are combined.

    Attributes:
        combination: Of the candidates that are kept.
        kept: Their places, in order.
        held_out: Log-probabilities up to a constant (N, C) or values of the combination for the
            rows of selection, from a combination that was fitted without them where one is
            fitted at all.
        notes: What the document says of it.
    """

    combination: Combination
    kept: tuple[int, ...]
    held_out: Tensor
    notes: dict[str, object]
