"""What an expert believes about good values: a share of the trials, which falls with time.

Some trials take the values of keys with a prior from around its center, and the sampler fills
in the rest; it learns from them as from any other. Their share falls as 1 / n: a belief that is
right is tried at once, and one that is wrong costs a number of trials that grows only as the
logarithm of all. (πBO lets beliefs fade at that pace: Hvarfner et al., arXiv:2204.11051. It
weights the acquisition of a Gaussian process; drawing trials serves other samplers too.)
"""

from __future__ import annotations

import json
from math import nextafter
from statistics import NormalDist
from typing import Any

from modelscale.seeds import derive
from modelscale.tuning.section import Prior
from modelscale.tuning.space import Params, Space, word
from modelscale.tuning.unit_cube import coordinate_of, value_at

DECAY_TRIALS = 10
"""Trials after which half of the first share is left."""

WIDTH = 0.1
"""Standard deviation of what is drawn around a center, as a part of the key's range."""


def share(prior: Prior, number: int) -> float:
    """Return the probability with which a trial leans on a prior."""
    return prior.weight * DECAY_TRIALS / (DECAY_TRIALS + number)


def believed(space: Space, seed: int, number: int) -> Params:
    """Return the values that a trial takes from the priors, none for most of the trials.

    They depend on nothing but the trial's number. One chance decides for all keys, so that
    beliefs of one weight are tried together.

    Args:
        space: What is searched, with the priors of its keys.
        seed: Of the search.
        number: Of the trial.
    """
    priors = {key: found.prior for key, found in space.ranges.items() if found.prior}
    if not priors:
        return {}
    from numpy.random import PCG64, Generator

    chance, *drawn = Generator(PCG64(derive(seed, "prior", number))).random(1 + len(priors))
    return {
        key: _near(space, key, prior.center, float(u))
        for (key, prior), u in zip(priors.items(), drawn, strict=True)
        if chance < share(prior, number)
    }


def _near(space: Space, key: str, center: Any, u: float) -> Any:
    """Return the value up to which the share `u` of what is believed lies."""
    if space.ranges[key].choices is not None or space.distributions[key].single():
        return json.loads(word(center))
    normal = NormalDist(coordinate_of(space, key, center), WIDTH)
    low, high = normal.cdf(0.0), normal.cdf(1.0)  # cut to the range
    reached = min(low + u * (high - low), nextafter(1.0, 0.0))
    return value_at(space, key, normal.inv_cdf(reached))
