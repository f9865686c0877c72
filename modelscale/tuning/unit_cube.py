"""A search space as the unit cube: one coordinate in [0, 1] for each key."""

from __future__ import annotations

import json
import math
from typing import Any

from modelscale.seeds import derive
from modelscale.tuning.space import Params, Space, decoded

_LARGEST_BELOW_ONE = math.nextafter(1.0, 0.0)


def at(space: Space, coordinates: dict[str, float], fixed: Params) -> Params:
    """Return the point at some coordinates.

    Each value of a finite key has an equally wide part of [0, 1]; a log scale is even in the
    logarithm.

    Args:
        space: What is searched.
        coordinates: In [0, 1], by key; those of keys that do not belong to the point are not
            used.
        fixed: Values that are given, and those of keys that depend on them.
    """
    point: Params = {}
    for key in space.distributions:
        if space.is_active(key, point):
            given = key in fixed
            point[key] = fixed[key] if given else value_at(space, key, coordinates[key])
    return point


def random_point(space: Space, seed: int, number: int, attempt: int, fixed: Params) -> Params:
    """Return a random point, which depends on nothing but the trial's number.

    Args:
        space: What is searched.
        seed: Of the search.
        number: Of the trial.
        attempt: How often it was drawn before.
        fixed: Values that are given.
    """
    from numpy.random import PCG64, Generator

    drawn = Generator(PCG64(derive(seed, "random", number, attempt))).random(
        len(space.distributions)
    )
    return at(space, dict(zip(space.distributions, map(float, drawn), strict=True)), fixed)


def value_at(space: Space, key: str, coordinate: float) -> Any:
    """Return the value of a key at a coordinate."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    u = min(max(coordinate, 0.0), _LARGEST_BELOW_ONE)
    found = space.distributions[key]
    if isinstance(found, CategoricalDistribution):
        return json.loads(str(found.choices[int(u * len(found.choices))]))
    assert isinstance(found, (FloatDistribution, IntDistribution))
    whole = isinstance(found, IntDistribution)
    if found.log:
        # A whole number stands for what rounds to it, so the ends reach half a number further.
        margin = 0.5 if whole else 0.0
        low, high = math.log(found.low - margin), math.log(found.high + margin)
        value = math.exp(low + u * (high - low))
        value = round(value) if whole else value
    elif found.step is not None:
        count = round((found.high - found.low) / found.step) + 1
        value = found.low + int(u * count) * found.step
    else:
        value = found.low + u * (found.high - found.low)
    value = min(max(value, found.low), found.high)
    return decoded({key: value}, space.ranges)[key]


def coordinate_of(space: Space, key: str, value: float) -> float:
    """Return the coordinate of a number; for a finite key the middle of its part of [0, 1]."""
    from optuna.distributions import FloatDistribution, IntDistribution

    found = space.distributions[key]
    assert isinstance(found, (FloatDistribution, IntDistribution))
    if found.log:
        margin = 0.5 if isinstance(found, IntDistribution) else 0.0
        low, high = math.log(found.low - margin), math.log(found.high + margin)
        return (math.log(value) - low) / (high - low)
    if found.step is not None:
        count = round((found.high - found.low) / found.step) + 1
        return (round((value - found.low) / found.step) + 0.5) / count
    return (value - found.low) / (found.high - found.low)
