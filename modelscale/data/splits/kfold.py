"""Cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from modelscale.data.splits import _dealing
from modelscale.data.splits.base import SplitSpec
from modelscale.seeds import derive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.raw import Raw
    from modelscale.data.splits.base import Fold
    from modelscale.tensors import Task


class KfoldSplit(SplitSpec):
    """Every row is in the test part of exactly one fold."""

    folds: int = Field(5, ge=2)
    """Rounds of cross-validation."""

    validation: float = Field(0.2, ge=0, lt=1)
    """Share of each fold's other rows to choose with."""

    stratify: bool | Literal["auto"] = "auto"
    """Whether every part gets its share of each class; `auto` does so for classification."""

    group: bool = False
    """Whether rows of one group stay together; the source names the group column."""

    seed: int = Field(0, ge=0)
    """Seed of the shuffle."""

    def divide(self, raw: Raw, task: Task) -> tuple[Fold, ...]:
        import numpy as np

        key_N: NDArray[np.generic] = (
            _dealing.groups(raw) if self.group else _dealing.strata(raw, self.stratify, task)
        )
        deal = _dealing.deal_groups if self.group else _dealing.deal
        tests = deal(key_N, [1.0 / self.folds] * self.folds, self.seed)
        shares = (1.0 - self.validation, self.validation)
        found = []
        for number, test in enumerate(tests):
            rest = np.setdiff1d(np.arange(len(raw)), test)
            seed = derive(self.seed, "validation", number)
            train, validation = (rest[part] for part in deal(key_N[rest], shares, seed))
            wanted = (1.0, self.validation, 1.0)
            found.append(_dealing.fold((train, validation, test), wanted, raw.origin))
        return tuple(found)
