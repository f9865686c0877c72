"""Stacking."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.ensembling.methods.base import EnsembleSpec

if TYPE_CHECKING:
    from modelscale.ensembling.answers import Answers, Combined


class Stacking(EnsembleSpec):
    """A small model learns to combine the members' answers out of fold.

    (Wolpert, Neural Networks 5, 1992.) The meta-learner's penalty draws it towards the plain
    mean and is chosen by cross-validation.
    """

    from_runs: ClassVar[bool] = True
    decides: ClassVar[bool] = True

    folds: int | None = Field(5, ge=2)
    """Folds of the training part for answers out of fold; null learns from the validation
    part."""

    meta: Literal["auto", "logistic", "ridge", "network"] = "auto"
    """What combines: logistic regression for classes, ridge regression for values (`auto`), or
    a network with one hidden layer for both."""

    hidden: int = Field(16, ge=1)
    """Hidden units of the network."""

    @property
    def inner_folds(self) -> int | None:
        return self.folds

    def combine(self, answers: Answers) -> Combined:
        from modelscale.ensembling.stacked import stacked

        return stacked(answers, self.meta, self.hidden)
