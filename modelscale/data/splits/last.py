"""Each user's last interactions to be measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.data.splits import _dealing
from modelscale.data.splits.base import Fold, SplitSpec
from modelscale.errors import DataError

if TYPE_CHECKING:
    from modelscale.data.raw import Raw
    from modelscale.tensors import Task


class LastSplit(SplitSpec):
    """The last rows of each group, such as a user, by time; rows of one time as in the file.

    Groups with too few rows to leave one for training are in the training part as a whole.
    """

    test: int = Field(1, ge=0)
    """Rows of each group, the latest."""

    validation: int = Field(1, ge=0)
    """Rows of each group, those just before the test rows."""

    def divide(self, raw: Raw, task: Task) -> tuple[Fold, ...]:
        import numpy as np
        import torch

        if raw.times is None:
            raise DataError(f"{raw.origin}: split: last needs the source to name a time column")
        group_N = np.unique(_dealing.groups(raw), return_inverse=True)[1]
        order_N = np.lexsort((np.arange(len(raw)), np.asarray(raw.times), group_N))
        size_G = np.bincount(group_N)
        end_N = np.cumsum(size_G)[group_N[order_N]]
        from_end_N = end_N - np.arange(len(raw))  # 1 for a group's last row
        ample_N = size_G[group_N[order_N]] > self.test + self.validation
        test_N = ample_N & (from_end_N <= self.test)
        validation_N = ample_N & ~test_N & (from_end_N <= self.test + self.validation)
        if not ample_N.any():
            raise DataError(
                f"{raw.origin}: no group has more than {self.test + self.validation} rows"
            )
        parts = [
            np.sort(order_N[flag]) for flag in (~(test_N | validation_N), validation_N, test_N)
        ]
        return (Fold(*[torch.from_numpy(part.astype(np.int64)) for part in parts]),)
