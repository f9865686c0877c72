"""What asking in batches costs a sampler: regret by trials and rounds, on cheap functions.

`python benchmarks/batch_policy.py tpe 12` runs every policy on 2 functions × 12 seeds, 64
trials each: about 4 minutes on one core for TPE. `rule` is that of `tuning/batching.py`.
"""

import math
import sys
from collections.abc import Callable

import numpy as np
from optuna.distributions import FloatDistribution

from modelscale.tuning.batching import batch_size
from modelscale.tuning.history import Finished, History
from modelscale.tuning.proposals import propose
from modelscale.tuning.samplers.base import SamplerSpec
from modelscale.tuning.section import SearchRange
from modelscale.tuning.space import Params, Space

TRIALS, COHORT, START = 64, 16, 10
LOGS, PLAIN = ("a", "b", "c", "d"), ("e", "f")
WEIGHTS = np.array([4, 2, 1, 0.5, 2, 0.25])
Policy = Callable[[int], int]


def fixed(width: int) -> Policy:
    return lambda asked: START - asked if asked < START else width


POLICIES: dict[str, Policy] = {
    "one by one": fixed(1),
    "2": fixed(2),
    "4": fixed(4),
    "8": fixed(8),
    "16": fixed(16),
    "8, then 4, then 2": lambda n: (
        START - n if n < START else 8 if n < 26 else 4 if n < 42 else 2
    ),
    "2, then 4, then 8": lambda n: (
        START - n if n < START else 2 if n < 26 else 4 if n < 42 else 8
    ),
    "a quarter": lambda n: START - n if n < START else max(1, n // 4),
    "an eighth": lambda n: START - n if n < START else max(1, n // 8),
}


def space() -> Space:
    ranges = {key: SearchRange(low=1e-4, high=1e-1, log=True) for key in LOGS}
    ranges |= {key: SearchRange(low=0.0, high=1.0) for key in PLAIN}
    made = {k: FloatDistribution(r.low, r.high, log=r.log) for k, r in ranges.items()}
    return Space(ranges, made)


def distance(params: Params, centre: np.ndarray) -> np.ndarray:
    logs = [math.log10(params[key]) / 3 + 4 / 3 for key in LOGS]
    return np.array([*logs, *(params[key] for key in PLAIN)]) - centre


def bowl(params: Params, centre: np.ndarray) -> float:
    return float((WEIGHTS * distance(params, centre) ** 2).sum())


def valley(params: Params, centre: np.ndarray) -> float:
    d = distance(params, centre)
    along, across = (d[0] - d[1]) ** 2, (d[0] + d[1]) ** 2
    return float(np.sqrt(4 * across + 0.5 * along + 0.3 * np.abs(d[2:]).sum() ** 2))


def search(
    sampler: SamplerSpec, policy: Policy, seed: int, function: Callable[..., float]
) -> tuple[list[float], int]:
    """Return the log10 of the least regret after each trial, and the number of rounds."""
    centre, where = np.random.default_rng(seed).uniform(0.1, 0.9, 6), space()
    done: list[Finished] = []
    best, curve, rounds = math.inf, [], 0
    while len(done) < TRIALS:
        count = min(policy(len(done)), COHORT, TRIALS - len(done))
        for params in propose(sampler, History(where, done, (False,), seed), count):
            value = function(params, centre)
            best = min(best, value)
            curve.append(math.log10(best))
            done.append(Finished(params, (value,), "complete"))
        rounds += 1
    return curve, rounds


def main() -> None:
    sampler, seeds = SamplerSpec.model_validate(sys.argv[1]), int(sys.argv[2])
    rule = {"rule": lambda asked: batch_size(asked, TRIALS, COHORT, sampler)}
    print("log10 of the regret after 16, 32, 48, 64 trials (± standard error of the last)")
    for name, policy in {**POLICIES, **rule}.items():
        found = [search(sampler, policy, s, f) for f in (bowl, valley) for s in range(seeds)]
        table = np.array([[curve[n - 1] for n in (16, 32, 48, 64)] for curve, _ in found])
        shown = "  ".join(f"{v:6.2f}" for v in table.mean(0))
        error = table[:, -1].std(ddof=1) / len(table) ** 0.5
        print(f"{name:18s} {found[0][1]:3d} rounds  {shown}  ± {error:.2f}", flush=True)


if __name__ == "__main__":
    main()
