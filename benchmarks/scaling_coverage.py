"""How often intervals hold the truth: simulated ladders with a known law.

    python benchmarks/scaling_coverage.py [--quick] [--design 0|1|2|3|4|5]

Each simulation draws losses about a law with log-normal noise (or noise with the tails of
Student's t and the same deviation) and analyses them as `fit` does. It asks whether the
exponents, the compute-optimal size N* and the loss there lie within their 80 % and 90 %
intervals, and a new measurement of that loss, with noise of its own, within the interval of a
measurement. The optimum is asked for at ten times the largest budget measured. A nominal 90 %
interval should hold the truth in 86 to 94 % of simulations; the standard error of a share of
200 is 2 points. The interval of a measurement also allows for misfit, of which there is none
here, so that it may hold more.
"""

import sys
import time
from collections import defaultdict
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from modelscale.scaling.analysis import Options, analyse, predict
from modelscale.scaling.bootstrap import Resampled
from modelscale.scaling.laws.base import LawSpec
from modelscale.scaling.optimum import allocate
from modelscale.scaling.points import points

A, B, E, ALPHA, BETA = 477.8, 2143.0, 1.8172, 0.3473, 0.3672
LEVELS = (0.8, 0.9)


class Design(NamedTuple):
    """What is measured: sizes and tokens of all runs, and the noise of log loss.

    `freedom` is that of Student's t, whose tails the noise has; None for a normal one.
    """

    name: str
    size_M: np.ndarray
    tokens_M: np.ndarray
    noise: float
    freedom: int | None = None

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return noise of log loss."""
        if self.freedom is None:
            return self.noise * rng.standard_normal(count)
        unit = (self.freedom / (self.freedom - 2)) ** 0.5
        return self.noise * rng.standard_t(self.freedom, count) / unit


def designs() -> list[Design]:
    sizes = np.geomspace(4e7, 2e9, 6)
    ladder = np.repeat(sizes, 3), (sizes[:, None] * np.array([2, 8, 30.0])).ravel()
    budgets = np.geomspace(1e18, 1e21, 5)
    iso = (np.sqrt(budgets / 120)[:, None] * np.geomspace(0.25, 4, 9)).ravel()
    seen = np.repeat(budgets, 9) / (6 * iso)
    few = np.geomspace(4e7, 2e9, 5)
    small = np.repeat(few, 3), (few[:, None] * np.array([4, 12, 40.0])).ravel()
    return [
        Design("5 sizes x 3 data", *small, 0.005),
        Design(
            "6 sizes x 3 data x 2 seeds", np.tile(ladder[0], 2), np.tile(ladder[1], 2), 0.005
        ),
        Design("5 budgets x 9 sizes", iso, seen, 0.005),
        Design("5 budgets x 9 sizes, noisy", iso, seen, 0.02),
        Design("5 sizes x 3 data x 3 seeds", np.tile(small[0], 3), np.tile(small[1], 3), 0.02),
        Design("5 budgets x 9 sizes, heavy tails", iso, seen, 0.01, freedom=3),
    ]


def simulate(design: Design, simulations: int, resamples: int) -> None:
    """Print the shares of truths inside intervals for one design."""
    rng = np.random.default_rng(0)
    law = LawSpec.of_kind("chinchilla")()
    truth = E + A * design.size_M**-ALPHA + B * design.tokens_M**-BETA
    budget = 10 * float((6 * design.size_M * design.tokens_M).max())
    ratio = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    best = ratio * (budget / 6) ** (BETA / (ALPHA + BETA))
    least = E + A * best**-ALPHA + B * (budget / 6 / best) ** -BETA
    at = {"parameters": np.array([best]), "tokens": np.array([budget / 6 / best])}
    hits = defaultdict(list)
    start = time.perf_counter()
    for seed in range(simulations):
        loss = truth * np.exp(design.draw(rng, len(truth)))
        inputs = {"parameters": design.size_M, "tokens": design.tokens_M}
        options = Options(level=LEVELS[-1], seed=seed, resamples=resamples)
        found = analyse(points(inputs, loss), {"chinchilla": law}, options)
        fit, draws = found.fit, found.resampled
        params = dict(zip(fit.params, draws.params().T, strict=True))
        size = float(allocate(fit.frame, fit.z_P[None], budget).parameters_B[0])
        sizes = allocate(fit.frame, draws.z_BP, budget).parameters_B
        questions = {
            "alpha": (fit.params["alpha"], params["alpha"], ALPHA),
            "beta": (fit.params["beta"], params["beta"], BETA),
            "N*": (size, sizes, best),
            "loss": (float(fit.predict(at)[0]), draws.predict(at)[:, 0], least),
        }
        new = least * np.exp(design.draw(rng, 1)[0])
        for level in LEVELS:
            for name, (value, column, true) in questions.items():
                hits[level, name].append(_inside(draws, value, column, level, true))
            leveled = replace(found, options=replace(options, level=level))
            whole = predict(leveled, {name: float(one[0]) for name, one in at.items()}).whole
            hits[level, "measurement"].append(whole.low <= new <= whole.high)
    print(f"{design.name} ({len(truth)} runs), {time.perf_counter() - start:.0f} s")
    for level in LEVELS:
        told = [
            f"{name} {np.mean(own):.1%}" for (at_, name), own in hits.items() if at_ == level
        ]
        print(f"  nominal {level:.0%}: {'  '.join(told)}", flush=True)


def _inside(
    draws: Resampled, value: float, column: np.ndarray, level: float, true: float
) -> bool:
    found = draws.interval(value, column, level)
    return bool(found.low <= true <= found.high)


def main() -> None:
    quick = "--quick" in sys.argv
    chosen = designs()
    if "--design" in sys.argv:
        chosen = [chosen[int(sys.argv[sys.argv.index("--design") + 1])]]
    for design in chosen:
        simulate(design, 20 if quick else 200, 200 if quick else 400)


if __name__ == "__main__":
    main()
