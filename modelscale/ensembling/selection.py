"""Ensemble selection from a library of models (Caruana et al., ICML 2004)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Score = Callable[["Tensor"], "Tensor"]  # (M, N, A) probabilities or values to (M,), up is good


@dataclass(frozen=True)
class Selection:
    """Candidates chosen one after another, each as often as it helps.

    Attributes:
        order: Candidates in the order of choice, up to the best of all rounds.
        weights: (M,) shares of the choices.
        scores: Score of the mean after each choice.
    """

    order: tuple[int, ...]
    weights: tuple[float, ...]
    scores: tuple[float, ...]


def select(answers_MNA: Tensor, score: Score, rounds: int) -> Selection:
    """Choose with replacement the candidate that improves the mean answer most.

    Begins with the best single candidate; of all rounds the first with the best score is kept,
    so that the ensemble is never worse than its best candidate on the rows of selection.

    Args:
        answers_MNA: Probabilities (M, N, C) or values (M, N, T), for rows that the candidates
            have not learnt from.
        score: Of predictions; larger is better.
        rounds: Choices at most.
    """
    import torch

    answers_MNA = answers_MNA.double()
    count = len(answers_MNA)
    total_NA = torch.zeros_like(answers_MNA[0])
    order: list[int] = []
    scores: list[float] = []
    for _ in range(rounds):
        found_M = score((total_NA + answers_MNA) / (len(order) + 1)).nan_to_num(-torch.inf)
        chosen = int(found_M.argmax())
        total_NA = total_NA + answers_MNA[chosen]
        order.append(chosen)
        scores.append(float(found_M[chosen]))
    kept = scores.index(max(scores)) + 1
    weights = tuple(order[:kept].count(m) / kept for m in range(count))
    return Selection(tuple(order[:kept]), weights, tuple(scores[:kept]))
