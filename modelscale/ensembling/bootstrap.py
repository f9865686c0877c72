"""Bagging (Breiman, Mach. Learn. 24, 1996): bootstrap weights, and rows that were left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor


def bootstrap_counts(seed: int, rows: int, share: float = 1.0) -> Tensor:
    """Return how often each row is drawn, (rows,) int64.

    Args:
        seed: Of one member.
        rows: How many there are.
        share: Draws as a share of the rows.
    """
    import torch

    generator = torch.Generator().manual_seed(derive(seed, "bootstrap rows"))
    draws = max(1, round(share * rows))
    drawn = torch.randint(rows, (draws,), generator=generator)
    return drawn.bincount(minlength=rows)


def out_of_bag_mean(answers_KNA: Tensor, count_KN: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean answer for each row of the members that never saw it.

    Args:
        answers_KNA: Probabilities or values of each member for each training row.
        count_KN: How often each member drew each row.

    Returns:
        (N, A) means, and (N,) bool: the rows that at least one member has not seen. Means of
        the others are NaN.
    """
    unseen_KN = count_KN == 0
    unseen = unseen_KN.to(answers_KNA.dtype)[..., None]
    members_N1 = unseen.sum(dim=0)
    mean_NA = (answers_KNA * unseen).sum(dim=0) / members_N1
    return mean_NA, unseen_KN.any(dim=0)
