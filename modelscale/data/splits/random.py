"""Rows at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from modelscale.data.splits import _dealing
from modelscale.data.splits.base import SplitSpec
from modelscale.spec.base import clash

if TYPE_CHECKING:
    from modelscale.data.raw import Raw
    from modelscale.data.splits.base import Fold
    from modelscale.tensors import Task


class RandomSplit(SplitSpec):
    """Rows at random, each class in equal shares where there are classes."""

    test: float = Field(0.2, ge=0, lt=1)
    """Share of rows that nothing that chooses ever sees."""

    validation: float = Field(0.2, ge=0, lt=1)
    """Share of rows to choose with."""

    stratify: bool | Literal["auto"] = "auto"
    """Whether every part gets its share of each class; `auto` does so for classification."""

    seed: int = Field(0, ge=0)
    """Seed of the shuffle; independent of the experiment's seed, so that runs compare."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if fault := _dealing.too_much(self.test, self.validation):
            raise clash(fault, "test", "validation")
        return self

    def divide(self, raw: Raw, task: Task) -> tuple[Fold, ...]:
        shares = _dealing.shares(self.test, self.validation)
        class_N = _dealing.strata(raw, self.stratify, task)
        parts = _dealing.deal(class_N, shares, self.seed)
        return (_dealing.fold(parts, shares, raw.origin),)
