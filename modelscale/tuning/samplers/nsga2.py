"""A genetic algorithm for several objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.tuning.samplers.base import Asker, SamplerSpec

if TYPE_CHECKING:
    from modelscale.tuning.history import History


class Nsga2(SamplerSpec):
    """Breeds each generation from the best of all before it, by rank and crowding.

    (Deb et al., IEEE Trans. Evol. Comput. 6, 2002; as Optuna builds it.) Made for several
    objectives and many trials; feasible trials come before infeasible ones. Trials of one
    generation know nothing of each other, so that they cost nothing when asked together.
    """

    learns: ClassVar[bool] = True

    population: int = Field(16, ge=2)
    """Trials of one generation."""

    crossover_probability: float = Field(0.9, ge=0, le=1)
    """Probability with which a child has two parents."""

    swapping_probability: float = Field(0.5, ge=0, le=1)
    """Probability with which each key comes from the second parent."""

    mutation_probability: float | None = Field(None, ge=0, le=1)
    """Probability with which each key is drawn anew; one key on average when left out."""

    def begin(self, history: History) -> Asker:
        from optuna.samplers import NSGAIISampler

        from modelscale.tuning.optuna_study import StudyAsker

        return StudyAsker(
            history,
            lambda seed: NSGAIISampler(
                population_size=self.population,
                crossover_prob=self.crossover_probability,
                swapping_prob=self.swapping_probability,
                mutation_prob=self.mutation_probability,
                seed=seed,
            ),
            self.population,
            generations_of=self.population,
        )

    def blind_until(self, asked: int) -> int:
        return (asked // self.population + 1) * self.population
