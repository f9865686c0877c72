"""Whether a smaller model keeps within an accuracy budget, judged on a sample of examples.

What was measured is not what is lost: on 360 rows a model that loses 3 points may well look
like one that loses none. A model is therefore within its budget only if the upper end of a
one-sided interval of its loss is, paired over the rows. Several sizes are tried, and a model
that only looked good would be taken with glee, so that the error is shared out over all tries
(Bonferroni): the chance that *any* of them is wrongly let through stays below the level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.evaluation.metrics.base import MetricSpec

TRIES = 5
"""Models that are trained to find the smallest one within a budget."""
MEASURED = 0.5
"""The confidence at which the loss as it was measured decides."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Loss:
    """How much of a metric a model has lost on a sample of examples.

    Attributes:
        drop: As measured: in the metric's units where larger is better, else as a share of
            what it was. Negative where the model is better.
        bound: Upper end of its one-sided interval; `drop` itself where none was asked for,
            NaN where the sample says nothing of the spread.
    """

    drop: float
    bound: float

    def within(self, budget: float) -> bool:
        """Return whether no more than the budget is lost."""
        return self.bound <= budget + 1e-9


def loss_between(
    metric: MetricSpec,
    before: Tensor,
    after: Tensor,
    targets: Tensor,
    confidence: float | None,
) -> Loss:
    """Return what a model has lost against another one, on the same examples.

    Args:
        metric: What is measured.
        before: (N, C) class probabilities, or (N, T) target values, of the larger model.
        after: The same of the smaller one.
        targets: (N,) class indices, or (N, T) target values.
        confidence: That the true loss is not above the bound; None for no bound.
    """
    from modelscale.evaluation.intervals import paired_difference

    better = metric.direction == "maximize"
    old = float(metric.compute(before, targets))
    gained = float(metric.compute(after, targets)) - old
    size = 1.0 if better else max(abs(old), 1e-12)
    drop = (-gained if better else gained) / size
    if confidence is None:
        return Loss(drop, drop)
    found = paired_difference(
        metric, after, before, targets, _RESAMPLES, confidence=2 * confidence - 1
    )
    return Loss(drop, (-found.low if better else found.high) / size)


@dataclass(frozen=True)
class Try:
    """One size that was tried.

    Attributes:
        size: What was aimed at, such as `{"macs": 0.35}`.
        loss: What the trained model has lost.
        within: Whether that is within the budget.
    """

    size: dict[str, float]
    loss: Loss
    within: bool

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the document."""
        found = {"drop": self.loss.drop, "bound": self.loss.bound, "within": self.within}
        return {**self.size, **found}


def each_confidence(confidence: float) -> float | None:
    """Return the confidence of each try that makes up a confidence over all; None for none."""
    return None if confidence <= MEASURED else 1 - (1 - confidence) / TRIES


def smallest_within(
    most: float, tried: Callable[[int, float], Try]
) -> tuple[tuple[Try, ...], int | None]:
    """Look for the smallest size within a budget by halving the interval that it lies in.

    Args:
        most: Halvings of the size at most.
        tried: Makes and judges the model of a number whose size was halved so often, which
            need not be a whole number.

    Returns:
        All tries, and which one is the smallest within the budget, if any.
    """
    held, lost = 0.0, most
    tries: list[Try] = []
    best: int | None = None
    for number in range(TRIES):
        halvings = (held + lost) / 2
        found = tried(number, halvings)
        tries.append(found)
        if found.within:
            held, best = halvings, number
        else:
            lost = halvings
    return tuple(tries), best


def promise(
    tries: tuple[Try, ...], best: int | None, budget: float, confidence: float, rows: int
) -> dict[str, Any]:
    """Return what can be said of the model that was taken, in numbers and in a sentence.

    Args:
        tries: All sizes that were tried.
        best: Which one was taken.
        budget: What may be lost.
        confidence: Over all tries.
        rows: Of the validation part.
    """
    facts: dict[str, Any] = {"budget": budget, "rows": rows, "tries": len(tries)}
    if best is None:
        least = min(t.loss.bound for t in tries)
        text = (
            f"nothing was removed: of no smaller model do {rows:,} validation rows show a loss "
            f"of {budget:g} or less"
        )
        if confidence > MEASURED:
            text += (
                f" with {100 * confidence:g} % confidence (at best {least:.3g}); more rows, a "
                "larger budget or `confidence: 0.5`, the loss as measured, let more through"
            )
        return facts | {"confidence": confidence, "bound": None, "text": text}
    loss = tries[best].loss
    if confidence <= MEASURED:
        text = (
            f"measured a loss of {loss.drop:.3g} on {rows:,} validation rows; the best of "
            f"{len(tries)} tries was taken, so on new data it may well be above {budget:g}"
        )
        return facts | {"confidence": MEASURED, "bound": None, "text": text}
    text = (
        f"loses at most {loss.bound:.3g} ({loss.drop:.3g} measured), with "
        f"{100 * confidence:g} % confidence over the choice of {rows:,} validation rows and "
        f"all {len(tries)} sizes that were tried"
    )
    return facts | {"confidence": confidence, "bound": loss.bound, "text": text}
