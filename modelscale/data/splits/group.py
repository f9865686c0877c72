"""Rows that belong together stay together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from modelscale.data.splits import _dealing
from modelscale.data.splits.base import SplitSpec
from modelscale.spec.base import clash

if TYPE_CHECKING:
    from modelscale.data.raw import Raw
    from modelscale.data.splits.base import Fold
    from modelscale.tensors import Task


class GroupSplit(SplitSpec):
    """Whole groups at random: no patient, speaker or customer is in two parts."""

    test: float = Field(0.2, ge=0, lt=1)
    """Share of rows that nothing that chooses ever sees; met as well as whole groups allow."""

    validation: float = Field(0.2, ge=0, lt=1)
    """Share of rows to choose with; met as well as whole groups allow."""

    seed: int = Field(0, ge=0)
    """Seed of the shuffle."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if fault := _dealing.too_much(self.test, self.validation):
            raise clash(fault, "test", "validation")
        return self

    def divide(self, raw: Raw, task: Task) -> tuple[Fold, ...]:
        shares = _dealing.shares(self.test, self.validation)
        parts = _dealing.deal_groups(_dealing.groups(raw), shares, self.seed)
        return (_dealing.fold(parts, shares, raw.origin),)
