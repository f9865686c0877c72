"""Soups."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.ensembling.averaging import average
from modelscale.ensembling.methods.base import EnsembleSpec, Flow

if TYPE_CHECKING:
    from modelscale.ensembling.answers import Answers, Combined


class Soup(EnsembleSpec):
    """One model whose weights are the mean of several models' weights.

    (Wortsman et al., arXiv:2203.05482.) Members begin as one training and part ways, since
    weights from different beginnings have no useful mean. A mean that is worse on the
    validation part than the best member is refused, and that member is the answer.
    """

    flow: ClassVar[Flow] = "soup"
    from_runs: ClassVar[bool] = True
    decides: ClassVar[bool] = True

    shared: float = Field(0.5, gt=0, lt=1)
    """Share of `train.epochs` that members have in common; the others are each member's own."""

    choose: Literal["greedy", "uniform"] = "greedy"
    """`greedy` adds members from the best on, each only if the mean does not become worse;
    `uniform` takes all."""

    def combine(self, answers: Answers) -> Combined:
        return average(answers)
