"""The ensemble family: the `ensemble` section of a spec."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.components import Component
from modelscale.ensembling.section import Distillation
from modelscale.spec.search_range import SearchRange

if TYPE_CHECKING:
    from modelscale.ensembling.answers import Answers, Combined

Flow = Literal["together", "rounds", "trajectory", "soup"]


class EnsembleSpec(Component):
    """Several models that answer together."""

    default_kind: ClassVar[str | None] = "average"

    flow: ClassVar[Flow] = "together"
    """How members are trained: all at once, one round after another, as moments of one
    training, or as branches of one."""

    from_runs: ClassVar[bool] = False
    """Whether finished models can be its members, with no training."""

    decides: ClassVar[bool] = False
    """Whether it cannot do without rows that the members have not learnt from."""

    members: int = Field(8, ge=2)
    """Models that are trained; for each fold where there are folds."""

    vary: dict[str, SearchRange] = Field(default_factory=dict)
    """Keys of the spec in which members differ beside their seed, such as `optimizer.lr: {low:
    1e-4, high: 1e-2, log: true}`; drawn like the trials of a random search, or all points in
    turn where there are no more of them than members."""

    temperature: bool = True
    """Whether probabilities are scaled by a temperature that is fitted on rows that decided
    nothing else; it stays at 1 where it differs from 1 by no more than chance."""

    distill: Distillation | None = None
    """Whether a single model of the spec is trained to answer like the ensemble."""

    @property
    def inner_folds(self) -> int | None:
        """Folds within the training part; None without."""
        return None

    @abstractmethod
    def combine(self, answers: Answers) -> Combined:
        """Return how candidates are combined, from rows that none of them has learnt from."""
