"""Parts that the data itself names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.data.splits import _dealing
from modelscale.data.splits.base import SplitSpec
from modelscale.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.raw import Raw
    from modelscale.data.splits.base import Fold
    from modelscale.tensors import Task


class ColumnSplit(SplitSpec):
    """Rows by the source's `part` column, which says train, validation or test."""

    validation: float = Field(0.0, ge=0, lt=1)
    """Share of the train rows to choose with, where the data names none: at random, of each
    class alike, and by whole groups where the source has groups of several rows."""

    seed: int = Field(0, ge=0)
    """Seed of that choice."""

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
        if self.validation:
            if len(parts[1]):
                raise DataError(
                    f"{raw.origin}: split.validation: the data has validation rows of its own"
                )
            parts[:2] = self._dealt(raw, task, parts[0])
        return (_dealing.fold(parts, (1.0, self.validation, 0.0), raw.origin),)

    def _dealt(self, raw: Raw, task: Task, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return the train rows that stay, and those to choose with."""
        import numpy as np

        shares = (1.0 - self.validation, self.validation)
        groups = raw.groups
        if groups is not None and len(np.unique(groups)) < len(raw):
            dealt = _dealing.deal_groups(groups[rows], shares, self.seed)
        else:
            dealt = _dealing.deal(_dealing.strata(raw, "auto", task)[rows], shares, self.seed)
        return [rows[part] for part in dealt]
