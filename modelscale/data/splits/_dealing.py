"""Dealing rows into parts: by class, within one row of the exact share; or by whole groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.raw import Raw
    from modelscale.data.splits.base import Fold
    from modelscale.tensors import Task

NAMES = ("train", "validation", "test")


def strata(raw: Raw, stratify: bool | str, task: Task) -> NDArray[np.int64]:
    """Return the class of each row, or one class for all where nothing is stratified.

    Raises:
        DataError: If `stratify` is true and the target has no classes.
    """
    import numpy as np

    from modelscale.data.targets import class_codes

    if task == "classification" and stratify:
        return class_codes(raw)
    if stratify is True:
        raise DataError(f"{raw.origin}: split.stratify: true needs a classification target")
    return np.zeros(len(raw), dtype=np.int64)


def deal(
    key_N: NDArray[np.generic], shares: Sequence[float], seed: int
) -> list[NDArray[np.int64]]:
    """Return shuffled rows dealt into parts, one array of ascending rows for each share.

    Every part gets its share of every class, rounded up or down to a whole row; which way is
    decided so that the parts' totals stay closest to their shares.
    """
    import numpy as np

    from modelscale.data.shuffling import shuffled

    order_N = shuffled(len(key_N), seed)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in shares]
    owed = np.zeros(len(shares))
    for label in np.unique(key_N):
        rows = order_N[key_N[order_N] == label]
        exact = np.array(shares) * len(rows)
        counts = np.floor(exact + 1e-9).astype(np.int64)
        owed += exact - counts
        # A rounded-up part must have had a fraction to round, or it would be off by more
        # than one row of its exact share.
        for _ in range(len(rows) - int(counts.sum())):
            open_parts = (exact - counts > 1e-9) & (counts < exact)
            chosen = int(np.argmax(np.where(open_parts, owed, -np.inf)))
            counts[chosen] += 1
            owed[chosen] -= 1
        for part, cut in zip(parts, np.split(rows, np.cumsum(counts)[:-1]), strict=True):
            part.append(cut)
    return [np.sort(np.concatenate(part)) for part in parts]


def deal_groups(
    key_N: NDArray[np.generic], shares: Sequence[float], seed: int
) -> list[NDArray[np.int64]]:
    """Return rows dealt by whole groups, the largest first, to the part that lacks most."""
    import numpy as np

    from modelscale.data.shuffling import shuffled

    _, first_G, code_N, size_G = np.unique(
        key_N, return_index=True, return_inverse=True, return_counts=True
    )
    # Groups are numbered by first appearance, so that the split does not hang on their names.
    by_appearance_G = np.argsort(first_G, kind="stable")
    shuffled_G = by_appearance_G[shuffled(len(size_G), seed)]
    owed = np.array(shares) * len(key_N)
    part_G = np.zeros(len(size_G), dtype=np.int64)
    for group in shuffled_G[np.argsort(-size_G[shuffled_G], kind="stable")]:
        part_G[group] = int(np.argmax(owed))
        owed[part_G[group]] -= size_G[group]
    part_N = part_G[code_N]
    return [np.flatnonzero(part_N == part) for part in range(len(shares))]


def fold(parts: Sequence[NDArray[np.int64]], shares: Sequence[float], origin: str) -> Fold:
    """Return the fold of (train, validation, test) rows.

    Raises:
        DataError: If a part that was asked for is empty.
    """
    import torch

    from modelscale.data.splits.base import Fold

    for name, rows, share in zip(NAMES, parts, shares, strict=True):
        if share > 0 and len(rows) == 0:
            raise DataError(
                f"{origin}: split: the {name} part would be empty; give it a larger share "
                f"or more rows (there are {sum(map(len, parts))})"
            )
    train, validation, test = (torch.from_numpy(rows) for rows in parts)
    return Fold(train, validation, test)


def shares(test: float, validation: float) -> tuple[float, float, float]:
    """Return the shares of train, validation and test rows."""
    return 1.0 - test - validation, validation, test


def too_much(test: float, validation: float) -> str | None:
    """Return what is wrong where test and validation leave nothing to train on."""
    if test + validation < 1 - 1e-9:
        return None
    return f"test {test} and validation {validation} leave nothing to train on"


def groups(raw: Raw) -> NDArray[np.generic]:
    """Return the group of each row.

    Raises:
        DataError: If the source names no group column.
    """
    import numpy as np

    if raw.groups is None:
        raise DataError(f"{raw.origin}: split by group needs the source to name a group column")
    return np.asarray(raw.groups)
