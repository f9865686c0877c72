"""What all kinds share that train the smaller model again."""

from __future__ import annotations

from pydantic import Field

from modelscale.pruning.kinds.base import PruneSpec
from modelscale.pruning.section import Retrain


class Retrained(PruneSpec):
    """A kind after which the model is trained again."""

    retrain: Retrain = Field(default_factory=Retrain)
    """How the smaller model is trained again."""
