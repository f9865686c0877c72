"""Snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.ensembling.averaging import average
from modelscale.ensembling.methods.base import EnsembleSpec, Flow

if TYPE_CHECKING:
    from modelscale.ensembling.answers import Answers, Combined


class Snapshot(EnsembleSpec):
    """The mean answer of one model at the end of each cycle of its learning rate.

    (Huang et al., arXiv:1704.00109.) The rate falls along half a cosine `members` times within
    `train.epochs`, in place of the spec's own schedule, so that all members cost one training.
    """

    flow: ClassVar[Flow] = "trajectory"

    skip: int = Field(0, ge=0)
    """First snapshots that are left out, as they are the weakest."""

    def combine(self, answers: Answers) -> Combined:
        return average(answers)
