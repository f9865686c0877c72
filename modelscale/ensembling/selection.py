"""Ensemble selection from a library of models (Caruana et al., ICML 2004)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

Score = Callable[["Tensor"], "Tensor"]
"""Maps probabilities or values (M, N, A) to scores (M, S), of which larger ones are better; a
later score decides where the earlier ones are equal."""


@dataclass(frozen=True)
class Selection:
    """Candidates chosen one after another, each as often as it helps.

    Attributes:
        order: Candidates in the order of choice, up to the best of all rounds; from bags each
            once, the heaviest first.
        shares: Weight of each place of the order.
        weights: (M,) sum of its shares for each candidate.
        scores: First score of the mean after each choice.
    """

    order: tuple[int, ...]
    shares: tuple[float, ...]
    weights: tuple[float, ...]
    scores: tuple[float, ...]


def select(
    answers_MNA: Tensor, score: Score, rounds: int, *, bags: int = 0, seed: int = 0
) -> Selection:
    """Choose with replacement the candidate that improves the mean answer most.

    Begins with the best candidates, as many as are best together, and goes on from there; of
    all that it passes, the ensemble with the best score is kept. So it is never worse than its
    best candidate on the rows of selection. With `bags` that is done for so many random halves
    of the candidates, and their weights are averaged: whoever is only lucky on these rows is
    then not in every half (sections 2.2 and 2.3 of the paper).

    Args:
        answers_MNA: Probabilities (M, N, C) or values (M, N, T), for rows that the candidates
            have not learnt from.
        score: Of predictions.
        rounds: Choices at most.
        bags: Random halves; 0 chooses once, among all.
        seed: Of the halves.
    """
    answers_MNA = answers_MNA.double()
    count = len(answers_MNA)
    if bags == 0:
        order, scores = _climb(answers_MNA, score, rounds)
        shares = (1 / len(order),) * len(order)
        weights = tuple(order.count(m) / len(order) for m in range(count))
        return Selection(tuple(order), shares, weights, tuple(scores))
    return _bagged(answers_MNA, score, rounds, bags, seed)


def _bagged(answers_MNA: Tensor, score: Score, rounds: int, bags: int, seed: int) -> Selection:
    import torch

    count = len(answers_MNA)
    generator = torch.Generator().manual_seed(derive(seed, "bags of candidates"))
    weight_M = torch.zeros(count, dtype=torch.float64)
    for _ in range(bags):
        half = torch.randperm(count, generator=generator)[: (count + 1) // 2].sort().values
        order, _scores = _climb(answers_MNA[half], score, rounds)
        for place in order:
            weight_M[half[place]] += 1 / (len(order) * bags)
    order = [m for m in weight_M.argsort(descending=True, stable=True).tolist() if weight_M[m]]
    total_MNA = (weight_M[order, None, None] * answers_MNA[order]).cumsum(0)
    scores = score(total_MNA / weight_M[order].cumsum(0)[:, None, None])[:, 0]
    shares, weights = weight_M[order].tolist(), weight_M.tolist()
    return Selection(tuple(order), tuple(shares), tuple(weights), tuple(scores.tolist()))


def _climb(answers_MNA: Tensor, score: Score, rounds: int) -> tuple[list[int], list[float]]:
    """Return candidates in the order of choice, and the score after each."""
    import torch

    alone = _judged(answers_MNA, score)
    ranked = sorted(range(len(alone)), key=lambda m: alone[m], reverse=True)
    sums_MNA = answers_MNA[ranked].cumsum(0)
    passed = _judged(sums_MNA / torch.arange(1, len(ranked) + 1)[:, None, None], score)
    start = passed.index(max(passed)) + 1
    order, passed, total_NA = ranked[:start], passed[:start], sums_MNA[start - 1]
    while len(order) < rounds:
        found = _judged((total_NA + answers_MNA) / (len(order) + 1), score)
        chosen = found.index(max(found))
        total_NA = total_NA + answers_MNA[chosen]
        order.append(chosen)
        passed.append(found[chosen])
    kept = passed.index(max(passed)) + 1
    return order[:kept], [scores[0] for scores in passed[:kept]]


def _judged(predictions: Tensor, score: Score) -> list[tuple[float, ...]]:
    """Return the scores of each of (M, N, A), the worst where there is none."""
    import torch

    return [tuple(row) for row in score(predictions).nan_to_num(-torch.inf).tolist()]
