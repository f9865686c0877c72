"""How far a fit could be off: resamples of the points, all fitted side by side.

Two ways. *Pairs* draws points (or groups of points) with replacement; it needs many points but
no assumption on their noise. *Wild* keeps the design and multiplies each residual, divided by
1 - its leverage (as in HC3: MacKinnon and White, J. Econometrics 29, 1985), by a random sign
that its group shares (Cameron, Gelbach and Miller, Rev. Econ. Stat. 90, 2008); it is the one
for ladders of few rungs. Where points are few it understates the tails, so that deviations
from the estimate are stretched by the ratio of Student's quantile to the normal one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from modelscale.scaling.fitting import AMPLE, noise_of
from modelscale.scaling.quantiles import normal_quantile, student_quantile
from modelscale.scaling.solver import minimise

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from modelscale.scaling.fitting import Fit

    Array = NDArray[np.float64]

Scheme: TypeAlias = Literal["auto", "pairs", "wild"]
RESAMPLES = 1000
_STEPS, _TOLERANCE = 120, 1e-8
_MOST_LEVERAGE = 0.9
_AT_ONCE = 2_000_000  # numbers in a Jacobian


class Interval(NamedTuple):
    """A number with the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampled:
    """A fit with what it became on resamples of its points.

    Attributes:
        fit: On the points as they are.
        z_BP: Unknowns of each resample's fit.
        scheme: How it was resampled.
        noise: Standard deviation of log loss about the law, robust and corrected for the
            number of parameters.
        freedom: Independent groups, less parameters; at least 1.
        stretched: Whether deviations are stretched for few points.
    """

    fit: Fit
    z_BP: Array
    scheme: str
    noise: float
    freedom: int
    stretched: bool

    def params(self) -> Array:
        """Return the parameters (B, P) of all resamples in the user's units."""
        return self.fit.frame.natural(self.z_BP)

    def interval(self, value: float, draws_B: Array, level: float) -> Interval:
        """Return the interval of a quantity from its values on the resamples."""
        import numpy as np

        finite = draws_B[np.isfinite(draws_B)]
        if not len(finite) or not np.isfinite(value):
            return Interval(value, float("nan"), float("nan"))
        tail = (1 - level) / 2
        low, high = np.quantile(finite, [tail, 1 - tail])
        factor = self.stretch(level)
        if factor == 1:
            return Interval(value, float(low), float(high))
        if value > 0 and (finite > 0).all():  # positive quantities err by factors
            down, up = np.log(np.array([low, high]) / value) * factor
            return Interval(value, float(value * np.exp(down)), float(value * np.exp(up)))
        return Interval(
            value, float(value + (low - value) * factor), float(value + (high - value) * factor)
        )

    def stretch(self, level: float) -> float:
        """Return by how much deviations are to be stretched at a level."""
        if not self.stretched:
            return 1.0
        tail = (1 + level) / 2
        return student_quantile(tail, self.freedom) / normal_quantile(tail)

    def predict(self, inputs: Mapping[str, Array]) -> Array:
        """Return the losses (B, Q) that the resamples' laws say."""
        return self.fit.frame.predict(self.z_BP, inputs)


def resample(
    fit: Fit, seed: int, resamples: int = RESAMPLES, scheme: Scheme = "auto"
) -> Resampled:
    """Return the fits of resamples of a fit's points.

    Args:
        fit: The fit.
        seed: Of the resampling.
        resamples: How many.
        scheme: "auto" is pairs from 20 points a parameter on, if no groups are given.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    points, P = fit.points, len(fit.z_P)
    used = points.weight_M > 0
    groups, group_M = np.unique(points.group_M, return_inverse=True)
    members = len(np.unique(points.group_M[used]))
    chosen = scheme
    if scheme == "auto":
        chosen = "pairs" if members >= AMPLE * P else "wild"
    B, M = resamples, len(points)
    leverage_M = _leverage(fit)
    if chosen == "pairs":
        counts = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=B)
        weight = counts[:, group_M] * points.weight_M
        target = np.broadcast_to(fit.frame.target_M, (B, M))
    else:
        sign = rng.choice([-1.0, 1.0], size=(B, len(groups)))[:, group_M]
        weight = np.broadcast_to(points.weight_M, (B, M))
        target = fit.frame.target_M + fit.residual_M
        target = target + sign * fit.residual_M / (1 - leverage_M)
    z = _fits(fit, target, weight)
    freedom = max(members - P, 1)
    return Resampled(fit, z, chosen, noise_of(fit), freedom, chosen == "wild")


def _leverage(fit: Fit) -> Array:
    """Return the share (M,) of each point's own value in its prediction."""
    import numpy as np

    _, jac = fit.frame.with_jacobian(fit.z_P[None], np.zeros(1, dtype=np.int64))
    design = np.nan_to_num(jac[0]) * np.sqrt(fit.points.weight_M)[:, None]
    left, sizes, _ = np.linalg.svd(design, full_matrices=False)
    kept = left[:, sizes > 1e-10 * max(float(sizes.max()), 1e-300)]
    leverage: Array = np.minimum(np.square(kept).sum(1), _MOST_LEVERAGE)
    return leverage


def _fits(fit: Fit, target_BM: Array, weight_BM: Array) -> Array:
    """Return the unknowns (B, P) of fits to other targets and weights, from the fit's own."""
    import numpy as np

    B, M = target_BM.shape
    P = len(fit.z_P)
    at_once = max(1, _AT_ONCE // (M * P))
    done = []
    for first in range(0, B, at_once):
        part = slice(first, min(first + at_once, B))
        z = np.tile(fit.z_P, (part.stop - first, 1))
        # A smoother problem first: the minimum may have moved far from the fit's own.
        wide = max(20 * fit.delta, 1e-2)
        if np.isfinite(fit.delta):
            z = minimise(
                fit.frame.with_jacobian, z, target_BM[part], weight_BM[part], wide, 30, 1e-4
            ).z_BP
        done.append(
            minimise(
                fit.frame.with_jacobian,
                z,
                target_BM[part],
                weight_BM[part],
                fit.delta,
                _STEPS,
                _TOLERANCE,
            ).z_BP
        )
    return np.concatenate(done)
