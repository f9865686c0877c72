"""Ranking of all items for each user: hit rate, NDCG and recall among the first k."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


Places = tuple[int, ...]
"""Ranks of a user's relevant items among all that could be recommended, ascending from 1."""


def ranks_of(score_I: Tensor, relevant_I: Tensor, excluded_I: Tensor) -> Places:
    """Return the ranks of a user's relevant items.

    All items compete but the excluded ones; there is no sampling of candidates, which would
    change the order of models (Krichene & Rendle, KDD 2020). Among equal scores the relevant
    items come last, so that a model gains nothing by scoring all alike.

    Args:
        score_I: (I,) score of each item; NaN ranks last.
        relevant_I: (I,) bool, the items that the user turned to.
        excluded_I: (I,) bool, what the user is known to have had before; never relevant.
    """
    import torch

    relevant_I = relevant_I & ~excluded_I
    score_I = score_I.double().nan_to_num(-torch.inf)
    others = score_I[~relevant_I & ~excluded_I].sort().values
    own = score_I[relevant_I].sort(descending=True).values
    ahead = len(others) - torch.searchsorted(others, own)  # at least as high
    places = ahead + torch.arange(1, len(own) + 1)
    return tuple(places.tolist())


def scores_at(users: list[Places], k: int) -> dict[str, Tensor]:
    """Return (users,) hit rate, NDCG and recall among the first k, for users with any item.

    NDCG has gain 1 for a relevant item, discounted by log2 of its rank plus one, over the best
    that the first k places could hold.
    """
    import torch

    rows = [places for places in users if places]
    found = [[place for place in row if place <= k] for row in rows]
    discount = [1.0 / torch.tensor(place + 1.0).log2().item() for place in range(1, k + 1)]
    best = [sum(discount[: len(row)]) for row in rows]
    gains = [sum(discount[place - 1] for place in row) for row in found]
    return {
        f"hit_rate@{k}": torch.tensor([float(bool(row)) for row in found]),
        f"ndcg@{k}": torch.tensor([g / b for g, b in zip(gains, best, strict=True)]),
        f"recall@{k}": torch.tensor(
            [len(f) / len(row) for f, row in zip(found, rows, strict=True)]
        ),
    }
