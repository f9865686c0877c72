"""Quasi-random search."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from modelscale.tuning.samplers.base import Asker, SamplerSpec

if TYPE_CHECKING:
    from modelscale.tuning.history import History
    from modelscale.tuning.space import Params


class Qmc(SamplerSpec):
    """Points of a Sobol sequence, which fill the space more evenly than random ones.

    Scrambled by the search's seed; trial n takes the n-th point. Most even after 16, 32, 64, …
    trials.
    """

    takes_priors: ClassVar[bool] = False

    scramble: bool = True
    """Whether the sequence depends on the seed. Without it the first point is the corner of all
    lower ends."""

    def begin(self, history: History) -> Asker:
        return _Sequence(history, self.scramble)


class _Sequence:
    """The Sobol sequence from the history's end on."""

    def __init__(self, history: History, scramble: bool) -> None:
        from torch.quasirandom import SobolEngine

        from modelscale.seeds import derive

        self.history = history
        seed = derive(history.seed, "qmc") % 2**32
        self.engine = SobolEngine(len(history.space.distributions), scramble, seed)

    def ask(self, number: int, attempt: int, fixed: Params) -> Params:
        """Return the number-th point; a random one in place of a repetition."""
        import torch

        from modelscale.tuning.unit_cube import at, random_point

        space = self.history.space
        if attempt:
            return random_point(space, self.history.seed, number, attempt, fixed)
        self.engine.fast_forward(number - self.engine.num_generated)
        drawn = self.engine.draw(1, dtype=torch.float64)[0].tolist()
        return at(space, dict(zip(space.distributions, drawn, strict=True)), fixed)
