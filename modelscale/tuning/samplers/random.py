"""Random search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.tuning.samplers.base import Asker, SamplerSpec

if TYPE_CHECKING:
    from modelscale.tuning.history import History
    from modelscale.tuning.space import Params


class Random(SamplerSpec):
    """Every trial is drawn from the whole space (Bergstra & Bengio, JMLR 13, 2012).

    A trial depends on its number alone, and the samplers that learn begin with the same trials.
    """

    def begin(self, history: History) -> Asker:
        return RandomAsker(history)


@dataclass(frozen=True)
class RandomAsker:
    """Points drawn from the whole space."""

    history: History

    def ask(self, number: int, attempt: int, fixed: Params) -> Params:
        """Return a random point."""
        from modelscale.tuning.unit_cube import random_point

        return random_point(self.history.space, self.history.seed, number, attempt, fixed)
