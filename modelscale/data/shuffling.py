"""Shuffles that are a pure function of a seed: the same on every platform and version.

Generators of numpy and torch promise no equal streams across releases, and a split that moved
with an upgrade would put test rows into training. So rows are ranked by a hash of their index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def hashed(count: int, seed: int) -> NDArray[np.uint64]:
    """Return `count` well-mixed 64-bit integers (SplitMix64; Steele et al., OOPSLA 2014)."""
    import numpy as np

    golden = 0x9E3779B97F4A7C15
    index_N = np.arange(1, count + 1, dtype=np.uint64)
    mixed_N = index_N * np.uint64(golden) + np.uint64(seed % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed_N = (mixed_N ^ (mixed_N >> np.uint64(shift))) * np.uint64(factor)
    return mixed_N ^ (mixed_N >> np.uint64(31))


def shuffled(count: int, seed: int) -> NDArray[np.int64]:
    """Return the numbers below `count` in an order that `seed` alone decides."""
    import numpy as np

    return np.argsort(hashed(count, seed), kind="stable").astype(np.int64)


def uniform(count: int, seed: int) -> NDArray[np.float64]:
    """Return `count` numbers in [0, 1), each a multiple of 2⁻⁵³."""
    import numpy as np

    return (hashed(count, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53
