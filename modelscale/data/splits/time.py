"""The past to learn from, the future to be measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from modelscale.data.splits import _dealing
from modelscale.data.splits.base import SplitSpec
from modelscale.errors import DataError
from modelscale.spec.base import clash

if TYPE_CHECKING:
    from modelscale.data.raw import Raw
    from modelscale.data.splits.base import Fold
    from modelscale.tensors import Task


class TimeSplit(SplitSpec):
    """Rows by time: all of train is before all of validation, and that before all of test.

    Rows of the same moment stay in the same part.
    """

    test: float = Field(0.2, ge=0, lt=1)
    """Share of rows, the latest."""

    validation: float = Field(0.2, ge=0, lt=1)
    """Share of rows, those just before the test part."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if fault := _dealing.too_much(self.test, self.validation):
            raise clash(fault, "test", "validation")
        return self

    def divide(self, raw: Raw, task: Task) -> tuple[Fold, ...]:
        import numpy as np

        if raw.times is None:
            raise DataError(f"{raw.origin}: split: time needs the source to name a time column")
        time_N = np.asarray(raw.times)
        order_N = np.argsort(time_N, kind="stable")
        sorted_N = time_N[order_N]
        shares = _dealing.shares(self.test, self.validation)
        cuts = []
        for exact in (shares[0] * len(raw), (shares[0] + shares[1]) * len(raw)):
            cut = round(exact)
            if 0 < cut < len(raw):
                # Back to where this moment begins: it all belongs to the later part.
                cut = int(np.searchsorted(sorted_N, sorted_N[cut], side="left"))
            cuts.append(cut)
        parts = [np.sort(part) for part in np.split(order_N, cuts)]
        return (_dealing.fold(parts, shares, raw.origin),)
