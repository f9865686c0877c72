"""Robust least squares for many small problems at once, in float64.

One call minimises B problems of P unknowns and M residuals side by side: all starts of one fit,
all resamples of a bootstrap, all members of an ensemble. The method is Levenberg and
Marquardt's with the Huber function's own curvature: residuals beyond `delta` pull, but do not
bend. Far from the minimum, or where nearly all residuals are beyond `delta` and that curvature
is singular, the damping is by the matrix of iteratively re-weighted least squares, whose step
is sure to descend; so it converges in tens of steps both as a least-squares and as nearly an
absolute-value problem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Model = Callable[[Array, NDArray[np.int64]], tuple[Array, Array]]

PATIENCE = 4
_FIRST_DAMPING = 1e-2
_LEAST_DAMPING, _MOST_DAMPING = 1e-12, 1e10
_LONGEST_STEP = 3.0
_HOPELESS = 1e8  # damping at which a step no longer changes anything
_SLOW, _CRAWL = 1e-5, 40  # many steps of little gain: along a valley without an end
_NOTHING = 1e-30  # a cost that is rounding
_RIDGE = 1e-14


class Minimum(NamedTuple):
    """Where B minimisations ended.

    Attributes:
        z_BP: Unknowns.
        cost_B: Sum of weighted Huber terms; infinite where the model was nowhere finite.
        steps: Iterations of the slowest problem.
    """

    z_BP: Array
    cost_B: Array
    steps: int


def minimise(
    model: Model,
    z_BP: Array,
    target_BM: Array,
    weight_BM: Array,
    delta: float = float("inf"),
    max_steps: int = 300,
    tolerance: float = 1e-13,
) -> Minimum:
    """Return the local minima of the weighted Huber sums, one for each start.

    The cost of a problem is the sum over M of `weight * huber(model - target)`, with
    `huber(r) = r²/2` up to `delta` and `delta (|r| - delta/2)` beyond.

    Args:
        model: Takes unknowns (B', P) and the numbers (B',) of the problems that they belong
            to; returns predictions (B', M) and their derivatives (B', M, P).
        z_BP: Where to start.
        target_BM: What is to be predicted.
        weight_BM: Not negative; 0 leaves a point out.
        delta: Where the cost turns from a square to a line; infinite for least squares.
        max_steps: Most iterations.
        tolerance: A problem is done when its cost sank by less than this part of it several
            times in a row.
    """
    import numpy as np

    search = _Search(model, np.array(z_BP, dtype=float), target_BM, weight_BM, delta)
    B = len(search.z_BP)
    search.look(search.z_BP.copy(), np.arange(B))
    open_B = np.flatnonzero(np.isfinite(search.cost_B))
    damping_B = np.full(B, _FIRST_DAMPING)
    calm_B, slow_B = np.zeros(B, dtype=int), np.zeros(B, dtype=int)
    steps = 0
    while len(open_B) and steps < max_steps:
        steps += 1
        before = search.cost_B[open_B].copy()
        step = search.step(open_B, damping_B[open_B])
        hoped = np.abs(np.sum(search.slope_BP[open_B] * step, axis=1))
        better = search.look(search.z_BP[open_B] + step, open_B)
        damping_B[open_B] = np.clip(
            np.where(better, damping_B[open_B] / 5, damping_B[open_B] * 6),
            _LEAST_DAMPING,
            _MOST_DAMPING,
        )
        gain = before - search.cost_B[open_B]
        small = gain <= tolerance * before + 1e-300
        calm_B[open_B] = np.where(small & better, calm_B[open_B] + 1, 0)
        slow_B[open_B] = np.where(gain <= _SLOW * before, slow_B[open_B] + 1, 0)
        stuck = ~better & ((damping_B[open_B] >= _HOPELESS) | (hoped <= tolerance * before))
        done = (calm_B[open_B] >= PATIENCE) | (slow_B[open_B] >= _CRAWL)
        done |= stuck | (search.cost_B[open_B] <= _NOTHING)
        open_B = open_B[~done]
    return Minimum(search.z_BP, search.cost_B, steps)


class _Search:
    """The best places found so far, with the slopes and curvatures there."""

    def __init__(
        self, model: Model, z_BP: Array, target_BM: Array, weight_BM: Array, delta: float
    ) -> None:
        import numpy as np

        B, P = z_BP.shape
        self.model, self.delta = model, delta
        self.target_BM, self.weight_BM = target_BM, weight_BM
        self.z_BP, self.cost_B = z_BP, np.full(B, np.inf)
        self.gram_BPP, self.soft_BPP = np.zeros((B, P, P)), np.zeros((B, P, P))
        self.slope_BP = np.zeros((B, P))

    def look(self, z: Array, which: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Evaluate candidates; take over those that are better; return which were."""
        import numpy as np

        with np.errstate(all="ignore"):
            f, jac = self.model(z, which)
            w = self.weight_BM[which]
            r = np.where(w > 0, f - self.target_BM[which], 0.0)
            size = np.abs(r)
            line = 0.0 if np.isinf(self.delta) else self.delta * (size - 0.5 * self.delta)
            cost = np.sum(w * np.where(size <= self.delta, 0.5 * r * r, line), axis=1)
        jac = np.where(w[..., None] > 0, jac, 0.0)
        better: NDArray[np.bool_] = np.isfinite(cost) & np.isfinite(jac).all((1, 2))
        better &= cost < self.cost_B[which]
        kept = which[better]
        w, jac, r, size = (values[better] for values in (w, jac, r, size))
        inner = size <= self.delta
        bent = w * np.where(inner, 1.0, self.delta / np.maximum(size, 1e-300))
        transposed = jac.transpose(0, 2, 1)
        self.slope_BP[kept] = (transposed @ (bent * r)[..., None])[..., 0]
        soft = (transposed * bent[:, None, :]) @ jac
        self.soft_BPP[kept] = soft
        squares = np.isinf(self.delta)
        self.gram_BPP[kept] = soft if squares else (transposed * (w * inner)[:, None, :]) @ jac
        self.z_BP[kept], self.cost_B[kept] = z[better], cost[better]
        return better

    def step(self, which: NDArray[np.int64], damping: Array) -> Array:
        """Return damped Newton steps from the best places."""
        gram, soft = self.gram_BPP[which], self.soft_BPP[which]
        return _steps(gram, soft, self.slope_BP[which], damping)


def _steps(gram: Array, soft: Array, slope: Array, damping: Array) -> Array:
    """Return the damped Newton steps, none longer than a factor of e³ in any unknown."""
    import numpy as np

    P = slope.shape[1]
    scale = np.maximum(
        np.einsum("bpp->bp", soft), _RIDGE * (1 + np.trace(soft, 0, 1, 2))[:, None]
    )
    scale = np.maximum(scale, 1e-200)
    eye = np.eye(P)
    # Both sorts of damping: soft is the curvature that is sure to descend, the diagonal keeps
    # directions in check that the data do not determine.
    matrix = gram + np.minimum(damping, 1e3)[:, None, None] * soft
    matrix = matrix + (1e-3 * damping + _RIDGE)[:, None, None] * (scale[:, :, None] * eye)
    grow = np.maximum(damping - 1.0, 0.0)
    matrix = matrix + grow[:, None, None] * (scale[:, :, None] * eye)
    root = 1 / np.sqrt(scale)
    scaled = matrix * root[:, :, None] * root[:, None, :]
    step = -np.linalg.solve(scaled + _RIDGE * eye, (slope * root)[..., None])[..., 0] * root
    step = np.nan_to_num(step, nan=0.0, posinf=0.0, neginf=0.0)
    longest = np.abs(step).max(axis=1, keepdims=True)
    short: Array = step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))
    return short
