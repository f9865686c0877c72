"""Folds within the training part, and the proof that what they give is out of fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.errors import DataError
from modelscale.seeds import derive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True)
class InnerFold:
    """One round.

    Attributes:
        learnt: Rows that its models learn from, int64, ascending.
        held: Rows that they answer for.
    """

    learnt: Tensor
    held: Tensor


def inner_folds(
    rows: Tensor, classes_N: Tensor | None, folds: int, seed: int
) -> list[InnerFold]:
    """Return folds with equally many rows to learn from, so that one cohort trains them.

    Rows that are left over after an even division are learnt from in every fold and held out
    in none. Classes are dealt out evenly.

    Args:
        rows: To divide.
        classes_N: Class of every row of the data, by row; None where there are none.
        folds: How many.
        seed: Of the shuffle.

    Raises:
        ValueError: If there are too few rows.
    """
    import torch

    if len(rows) < 2 * folds:
        raise ValueError(f"{len(rows)} training rows are too few for {folds} folds")
    generator = torch.Generator().manual_seed(derive(seed, "ensemble folds"))
    rows = rows.sort().values[torch.randperm(len(rows), generator=generator)]
    if classes_N is not None:
        rows = rows[classes_N[rows].sort(stable=True).indices]
    size = len(rows) // folds
    dealt = rows[: size * folds].view(size, folds)
    found = []
    for fold in range(folds):
        others = [dealt[:, other] for other in range(folds) if other != fold]
        learnt = torch.cat([*others, rows[size * folds :]]).sort().values
        found.append(InnerFold(learnt, dealt[:, fold].sort().values))
    return found


def check_unseen(what: str, answered: Tensor, learnt: Sequence[Tensor]) -> None:
    """Raise where answers that are to decide something come from models that saw the rows.

    Args:
        what: Of whom, for the message.
        answered: Rows that are answered for.
        learnt: Rows that models behind these answers learnt from, or chose by.

    Raises:
        DataError: If any row is in both.
    """
    import torch

    for rows in learnt:
        common = int(torch.isin(answered.cpu(), rows.cpu()).sum())
        if common:
            raise DataError(
                f"{what}: learnt from {common} of the {len(answered)} rows that are to judge "
                "it; its answers for them prove nothing"
            )
