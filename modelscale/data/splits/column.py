"""Parts that the data itself names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.data.splits import _dealing
from modelscale.data.splits.base import SplitSpec
from modelscale.errors import DataError

if TYPE_CHECKING:
    from modelscale.data.raw import Raw
    from modelscale.data.splits.base import Fold
    from modelscale.tensors import Task


class ColumnSplit(SplitSpec):
    """Rows by the source's `part` column, which says train, validation or test."""

    def divide(self, raw: Raw, task: Task) -> tuple[Fold, ...]:
        import numpy as np

        if raw.part is None:
            raise DataError(
                f"{raw.origin}: split: column needs the source to name a part column"
            )
        code_N = np.asarray(raw.part.codes_N)
        for code, word in enumerate(raw.part.words):
            if word not in _dealing.NAMES:
                row = int(np.argmax(code_N == code)) + raw.first_row
                raise DataError(
                    f"{raw.origin}: row {row}: the part is {word!r}; it must be one of "
                    f"{', '.join(_dealing.NAMES)}"
                )
        codes = [raw.part.words.index(n) if n in raw.part.words else -2 for n in _dealing.NAMES]
        parts = [np.flatnonzero(code_N == code) for code in codes]
        return (_dealing.fold(parts, (1.0, 0.0, 0.0), raw.origin),)
