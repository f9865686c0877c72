"""Boosting."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.ensembling.averaging import average
from modelscale.ensembling.methods.base import EnsembleSpec, Flow

if TYPE_CHECKING:
    from modelscale.ensembling.answers import Answers, Combined
    from modelscale.tensors import Task


class Boosting(EnsembleSpec):
    """Weak models one after another, each learning what those before get wrong.

    `members` counts rounds. The model should be small: one that makes no error on the training
    part leaves nothing to boost.
    """

    flow: ClassVar[Flow] = "rounds"

    method: Literal["auto", "samme", "gradient"] = "auto"
    """`samme` (Zhu et al., 2009) gives examples that were missed more weight, for classes;
    `gradient` (Friedman, 2001) fits the loss's gradient; `auto` is samme for classes, gradient
    for values."""

    shrinkage: float | None = Field(None, gt=0, le=1)
    """Factor on each model's part; 1 for samme and 0.3 for gradient when left out."""

    chains: int = Field(1, ge=1)
    """Boosted sequences that differ in their seeds, trained side by side and averaged."""

    patience: int | None = Field(5, ge=1)
    """Rounds without improvement on the validation part after which gradient boosting stops; it
    is then cut back to the best round."""

    def resolved_method(self, task: Task) -> Literal["samme", "gradient"]:
        """Return the method that is used for a task."""
        if self.method == "auto":
            return "samme" if task == "classification" else "gradient"
        return self.method

    def combine(self, answers: Answers) -> Combined:
        return average(answers)
