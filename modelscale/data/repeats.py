"""Rows of a table that stand in it more than once, on both sides of a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.data.raw import Texts
from modelscale.data.roles import is_long

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.raw import Raw
    from modelscale.data.splits.base import Fold

NOTABLE = 0.25
"""Share of the test rows from which on copies are worth a word; a few are chance in tables of
categories and round numbers."""


def repeats_warning(raw: Raw, fold: Fold) -> str | None:
    """Return a warning if many test rows equal a training row in every column; else None."""
    import numpy as np

    if any(is_long(cells) for cells in raw.columns.values()) or not raw.columns:
        return None
    hash_N = _row_hashes(raw)
    test = fold.test.numpy()
    copies = int(np.isin(hash_N[test], hash_N[fold.train.numpy()]).sum())
    if not len(test) or copies < NOTABLE * len(test):
        return None
    return (
        f"{copies:,} of {len(test):,} test rows equal a training row in all columns; if they "
        "are copies, test scores are too good: remove them from the file, or keep them "
        "together with split: group"
    )


def _row_hashes(raw: Raw) -> NDArray[np.uint64]:
    """Return a number for each row that is the same for equal rows, the target included."""
    import numpy as np

    hash_N = np.zeros(len(raw), dtype=np.uint64)
    for cells in (*raw.columns.values(), raw.target):
        if cells is None:
            continue
        if isinstance(cells, Texts):
            value_NT = np.asarray(cells.codes_N).astype(np.int64).view(np.uint64)[:, None]
        else:
            number_NT = np.array(cells, dtype=np.float64).reshape(len(raw), -1)
            number_NT[np.isnan(number_NT)] = np.nan  # all of one bit pattern
            value_NT = (number_NT + 0.0).view(np.uint64)  # -0 becomes 0
        for (
            value_N
        ) in value_NT.T:  # steps of FNV-1a with a shift, as multiplying keeps low bits
            hash_N = (hash_N ^ value_N) * np.uint64(0x100000001B3)
            hash_N ^= hash_N >> np.uint64(29)
            hash_N *= np.uint64(0x9E3779B97F4A7C15)
    return hash_N
