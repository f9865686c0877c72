"""Averaging."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.ensembling.averaging import average
from modelscale.ensembling.methods.base import EnsembleSpec

if TYPE_CHECKING:
    from modelscale.ensembling.answers import Answers, Combined


class Average(EnsembleSpec):
    """The mean answer of models from several seeds, a deep ensemble.

    (Lakshminarayanan et al., arXiv:1612.01474.)
    """

    from_runs: ClassVar[bool] = True

    folds: int | None = Field(None, ge=2)
    """Folds of the training part: each member is then one model for each fold, and what it is
    worth is known out of fold, without a validation part."""

    @property
    def inner_folds(self) -> int | None:
        return self.folds

    def combine(self, answers: Answers) -> Combined:
        return average(answers)
