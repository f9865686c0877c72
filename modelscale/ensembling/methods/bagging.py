"""Bagging."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.ensembling.averaging import average
from modelscale.ensembling.methods.base import EnsembleSpec

if TYPE_CHECKING:
    from modelscale.ensembling.answers import Answers, Combined


class Bagging(EnsembleSpec):
    """The mean answer of models that each learn from a bootstrap sample.

    (Breiman, Mach. Learn. 24, 1996.) A member's sample is a weight for each training row, so
    all members train together; rows that it never drew estimate what the ensemble is worth.
    """

    from_runs: ClassVar[bool] = False

    share: float = Field(1.0, gt=0, le=1)
    """Rows drawn, with replacement, as a share of the training part."""

    def combine(self, answers: Answers) -> Combined:
        return average(answers)
