"""Where searches start: linear coefficients solved for on a grid of the others.

Most laws are sums of terms whose coefficients enter linearly once the exponents are given
(variable projection: Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973). A grid over the few
exponents with exact non-negative coefficients then starts nearer to the optimum than any
number of random guesses.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

KEPT = 4
_TINY = 1e-6


def grid(*axes: Array) -> Array:
    """Return all combinations (G, Q) of the values of Q axes."""
    import numpy as np

    return np.array(list(product(*axes)), dtype=float)


def separable(
    columns_GMK: Array, loss_M: Array, kept: int = KEPT
) -> tuple[NDArray[np.intp], Array]:
    """Return the best places of a grid and the coefficients there.

    Minimises the sum of squared relative residuals over coefficients that are not negative, by
    trying each subset of them: exact for the three or four terms that laws have.

    Args:
        columns_GMK: The K terms at the M points for each of G places, before coefficients.
        loss_M: What their sum is to be.
        kept: Most places returned, best first.

    Returns:
        Indices (S,) of places, and coefficients (S, K), all positive: one that is zero at the
        optimum is a millionth of the loss, from where a search in logarithms can still move.
    """
    import numpy as np

    relative = columns_GMK / loss_M[None, :, None]
    G, _, K = relative.shape
    best, cost = np.zeros((G, K)), np.full(G, np.inf)
    transposed = relative.transpose(0, 2, 1)
    gram_GKK, right_GK = transposed @ relative, transposed.sum(2)
    for size in range(1, K + 1):
        for chosen in map(list, combinations(range(K), size)):
            part = gram_GKK[:, chosen][:, :, chosen]
            ridge = 1e-12 * np.trace(part, 0, 1, 2)[:, None, None] * np.eye(size)
            found = np.linalg.solve(part + ridge, right_GK[:, chosen][..., None])[..., 0]
            misfit = np.square(np.einsum("gmk,gk->gm", relative[..., chosen], found) - 1).sum(1)
            better = (found > 0).all(1) & (misfit < cost)
            best[better] = 0
            best[np.ix_(better, chosen)] = found[better]
            cost[better] = misfit[better]
    order = np.argsort(cost, kind="stable")[:kept]
    size_GK = np.median(np.abs(columns_GMK[order]), axis=1)
    least = _TINY * np.median(loss_M) / np.maximum(size_GK, 1e-300)
    return order, np.maximum(best[order], least)
