"""Evolution of a normal distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from modelscale.errors import missing_extra
from modelscale.tuning.samplers.base import Asker, SamplerSpec

if TYPE_CHECKING:
    from modelscale.tuning.history import Finished, History
    from modelscale.tuning.space import Params


class Cmaes(SamplerSpec):
    """Adapts the mean and the covariance of a normal distribution to the better half of trials.

    (Hansen, "The CMA Evolution Strategy", arXiv:1604.00772.) For numbers; choices and
    conditional keys are drawn at random. Trials of one generation know nothing of each other,
    so that asking for them together costs nothing. Stopped, infeasible and failed trials rank
    behind complete ones.
    """

    learns: ClassVar[bool] = True
    several_objectives: ClassVar[bool] = False
    takes_priors: ClassVar[bool] = False

    population: int = Field(8, ge=4)
    """Trials of one generation."""

    sigma: float = Field(1 / 6, gt=0, le=1)
    """First standard deviation, as a part of each key's range; the first mean is the middle."""

    def begin(self, history: History) -> Asker:
        return _Evolution(history, self.population, self.sigma)

    def blind_until(self, asked: int) -> int:
        return (asked // self.population + 1) * self.population


class _Evolution:
    """The distribution after all full generations of a history.

    Built by telling it all generations again, not from a stored state: they are its state.
    """

    def __init__(self, history: History, population: int, sigma: float) -> None:
        try:
            from cmaes import CMA
        except ImportError as error:
            raise missing_extra("cmaes", "tuning", "the sampler cmaes") from error
        import numpy as np

        from modelscale.tuning.unit_cube import coordinate_of

        self.history, space = history, history.space
        self.keys = [key for key in space.distributions if _evolves(history, key)]
        self.cma: Any = None
        if not self.keys:
            return
        count = len(self.keys)
        bounds = np.tile([0.0, 1.0], (count, 1))
        self.cma = CMA(
            np.full(count, 0.5), sigma, bounds=bounds, seed=0, population_size=population
        )
        for first in range(0, len(history.finished) // population * population, population):
            generation = history.finished[first : first + population]
            ranked = sorted(generation, key=lambda trial: _rank(trial, history.maximize[0]))
            told = [
                (np.array([coordinate_of(space, k, t.params[k]) for k in self.keys]), float(n))
                for n, t in enumerate(ranked)
            ]
            self.cma.tell(told)

    def ask(self, number: int, attempt: int, fixed: Params) -> Params:
        """Return a point drawn from the distribution; its seed follows from its number."""
        from modelscale.seeds import derive
        from modelscale.tuning.unit_cube import random_point, value_at

        space, seed = self.history.space, self.history.seed
        drawn: Params = {}
        if self.cma is not None:
            self.cma.reseed_rng(derive(seed, "cmaes", number, attempt) % 2**32)
            where = zip(self.keys, self.cma.ask(), strict=True)
            drawn = {key: value_at(space, key, float(u)) for key, u in where}
        return random_point(space, seed, number, attempt, {**drawn, **fixed})


def _evolves(history: History, key: str) -> bool:
    from optuna.distributions import CategoricalDistribution

    found = history.space.distributions[key]
    listed = isinstance(found, CategoricalDistribution)
    return not (listed or found.single() or history.space.conditions.get(key))


def _rank(trial: Finished, maximize: bool) -> tuple[float, ...]:
    """Return what sorts a generation, the best first."""
    missed = sum(max(v, 0.0) for v in trial.violations)
    values = trial.measured()
    worth = (-values[0] if maximize else values[0]) if values else 0.0
    states = ("complete", "stopped", "diverged", "infeasible", "failed")
    latest = -max(trial.curve, default=0) if trial.state == "stopped" else 0
    unusable = 0 if values else 1
    return (float(missed > 0), missed, states.index(trial.state), unusable, latest, worth)
