"""Extrapolating learning curves: the median of recency-weighted fits, all curves at once.

Each member is one of two forms of log loss in u = log(x / last x): a power with a floor (M2) or
a shifted power (M3; both Alabdulmohsin et al., arXiv:2209.06640). A member weighs points by
(x / last x)^(1/h), since the end of a curve says more about what follows than its beginning,
and draws the share of the floor towards a middling value, the more the noisier the curve is:
on noise, an unrestrained floor is decided by the last few points. The prediction is the median
over members, point by point.

Of the sets of members tried, this one had the least error in back-tests within the fitted
parts of 44 public curves: cut at a half, a third, a quarter and an eighth of their length and
asked for what follows, up to twice the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from modelscale.scaling.solver import minimise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Shape: TypeAlias = Literal["floor", "shift"]


class Member(NamedTuple):
    """One fit of the ensemble.

    Attributes:
        shape: M2 or M3.
        h: Recency; the weight of a point halves where x falls by the factor 2^h.
        centre: Where the shape's third unknown is drawn to: for M2 the logit of the floor's
            share of the last loss, for M3 the log of gamma times the last x.
        pull: By how many standard deviations of the noise one unit away from it counts.
    """

    shape: Shape
    h: float
    centre: float
    pull: float


MEMBERS = (
    *(Member("floor", 0.25, centre, pull) for centre in (0.0, -0.7) for pull in (1.0, 3.0)),
    *(
        Member("shift", h, centre, pull)
        for h in (0.25, 0.35)
        for centre in (0.0, -0.7)
        for pull in (3.0, 8.0)
    ),
)

_LEAST_NOISE = 3e-4
_FEW, _FEW_NOISE = 6, 0.02  # what is taken for the noise of a curve of very few points
_STEPS, _TOLERANCE = 80, 1e-9
_NEIGHBOURS, _SPIKE, _LEAST_SPIKE = 5, 10.0, 0.1
_MOST_LOG = 30.0
_LEAST_SLOPE = 0.01


@dataclass(frozen=True)
class Curve:
    """The measured part of a learning curve.

    Attributes:
        x_M: Examples seen, steps or another size; positive, ascending.
        loss_M: Positive.
    """

    x_M: Array
    loss_M: Array


@dataclass(frozen=True)
class Extrapolation:
    """What the ensemble makes of one curve.

    Attributes:
        log_loss_KQ: Each of K members' prediction at Q places.
        log_fit_KM: The same at the curve's own points.
        noise: Standard deviation of log loss about the members' fits at the curve's end.
    """

    log_loss_KQ: Array
    log_fit_KM: Array
    noise: float

    def median(self) -> Array:
        """Return the predicted log losses (Q,)."""
        import numpy as np

        middle: Array = np.median(self.log_loss_KQ, axis=0)
        return middle


def extrapolate(curves: Sequence[Curve], places: Sequence[Array]) -> list[Extrapolation]:
    """Return the ensemble's view of each curve at its own places (Q,)."""
    import numpy as np

    batch = _Batch(curves)
    noise_by: dict[tuple[str, float], Array] = {}
    unknowns = []
    for member in MEMBERS:
        key = member.shape, member.h
        if key not in noise_by:
            noise_by[key] = batch.noise(member.shape, member.h)
        unknowns.append(batch.fit(member, noise_by[key]))
    found = []
    last_h = MEMBERS[-1].shape, MEMBERS[-1].h
    for c, (curve, x) in enumerate(zip(curves, places, strict=True)):
        u_new = np.log(np.asarray(x, dtype=float) / curve.x_M[-1])
        u_own = np.log(curve.x_M / curve.x_M[-1])
        pairs = list(zip(MEMBERS, unknowns, strict=True))
        new, own = (
            np.array([_SHAPES[m.shape](z[c : c + 1], u[None])[0][0] for m, z in pairs])
            for u in (u_new, u_own)
        )
        found.append(Extrapolation(new, own, float(noise_by[last_h][c])))
    return found


class _Batch:
    """Curves side by side, padded with points of no weight."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        import numpy as np

        self.counts = np.array([len(curve.x_M) for curve in curves])
        shape = len(curves), int(self.counts.max())
        self.u_CM, self.v_CM, self.there_CM = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for c, curve in enumerate(curves):
            n = len(curve.x_M)
            self.u_CM[c, :n] = np.log(curve.x_M / curve.x_M[-1])
            self.v_CM[c, :n] = np.log(curve.loss_M)
            self.there_CM[c, :n] = _without_spikes(self.v_CM[c, :n])
        self.slope_C = np.array([self._slope(c) for c in range(len(curves))])

    def weights(self, h: float) -> Array:
        """Return recency weights (C, M), 1 on average over each curve's points."""
        import numpy as np

        w = self.there_CM * np.exp(self.u_CM / h)
        normed: Array = w * (self.counts / w.sum(1))[:, None]
        return normed

    def noise(self, shape: Shape, h: float) -> Array:
        """Return the noise (C,) of log loss about unrestrained fits."""
        import numpy as np

        w = self.weights(h)
        z = self._best(shape, w, np.ones(len(self.counts)), 0.0, 0.0)
        with np.errstate(all="ignore"):
            r = _SHAPES[shape](z, self.u_CM)[0] - self.v_CM
        noise = np.zeros(len(r))
        for c, n in enumerate(self.counts):
            squares = float((w[c, :n] * r[c, :n] ** 2).sum()) / max(n - 3, 1)
            if n < _FEW:
                squares += _FEW_NOISE**2 * (_FEW - n) / _FEW
            noise[c] = max(np.sqrt(squares), _LEAST_NOISE)
        return noise

    def fit(self, member: Member, noise_C: Array) -> Array:
        """Return a member's unknowns (C, 3) for all curves."""
        w = self.weights(member.h)
        return self._best(member.shape, w, noise_C, member.centre, member.pull)

    def _best(
        self, shape: Shape, w_CM: Array, noise_C: Array, centre: float, pull: float
    ) -> Array:
        import numpy as np

        C = len(self.counts)
        starts = _STARTS[shape](self.v_CM[np.arange(C), self.counts - 1], self.slope_C)
        S = starts.shape[1]
        who = np.repeat(np.arange(C), S)
        scale = noise_C[who, None]
        target = np.concatenate([self.v_CM[who] / scale, np.full((C * S, 1), centre)], 1)
        weight = np.concatenate([w_CM[who], np.full((C * S, 1), pull**2)], 1)

        def model(z: Array, which: NDArray[np.int64]) -> tuple[Array, Array]:
            f, jac = _SHAPES[shape](z, self.u_CM[who[which]])
            jac = jac / scale[which][..., None]
            own = np.zeros((len(z), 1, 3))
            own[:, 0, 2] = 1
            return (
                np.concatenate([f / scale[which], z[:, 2:]], 1),
                np.concatenate([jac, own], 1),
            )

        found = minimise(
            model,
            starts.reshape(C * S, 3),
            target,
            weight,
            max_steps=_STEPS,
            tolerance=_TOLERANCE,
        )
        best = found.cost_B.reshape(C, S).argmin(1)
        z: Array = found.z_BP.reshape(C, S, 3)[np.arange(C), best]
        return z

    def _slope(self, c: int) -> float:
        """Return how fast log loss falls over the later half of a curve, at least slowly."""
        n = int(self.counts[c])
        h = n // 2
        run = self.u_CM[c, n - 1] - self.u_CM[c, h]
        fall = self.v_CM[c, h] - self.v_CM[c, n - 1]
        return max(_LEAST_SLOPE, float(fall) / float(run)) if run > 0 else _LEAST_SLOPE


def _without_spikes(log_loss_M: Array) -> NDArray[np.bool_]:
    """Return which points are not far off the median of their five neighbours."""
    import numpy as np

    n = len(log_loss_M)
    if n <= _NEIGHBOURS:
        return np.ones(n, dtype=bool)
    half = _NEIGHBOURS // 2
    windows = np.lib.stride_tricks.sliding_window_view(log_loss_M, _NEIGHBOURS)
    # At the ends a slope would look like a spike; there nothing is dropped.
    off = np.zeros(n)
    off[half : n - half] = np.abs(log_loss_M[half : n - half] - np.median(windows, axis=1))
    usual = 1.4826 * np.median(off[half : n - half])
    kept: NDArray[np.bool_] = off <= max(_SPIKE * usual, _LEAST_SPIKE)
    return kept


def _floor(z: Array, u: Array) -> tuple[Array, Array]:
    """Return z0 + log(s + (1 - s) e^(-c u)), s = sigmoid(z2), c = e^z1, and derivatives."""
    import numpy as np

    c = np.exp(np.clip(z[:, 1:2], -_MOST_LOG, _MOST_LOG / 3))
    s = 1 / (1 + np.exp(-np.clip(z[:, 2:3], -_MOST_LOG, _MOST_LOG)))
    e = np.exp(np.minimum(-c * u, 600.0))
    q = s + (1 - s) * e
    slopes = np.ones_like(u), -(1 - s) * e * u * c / q, (1 - e) * s * (1 - s) / q
    return z[:, :1] + np.log(q), np.stack(slopes, -1)


def _shift(z: Array, u: Array) -> tuple[Array, Array]:
    """Return z0 + c log((e^-u + g) / (1 + g)), g = e^z2, c = e^z1, and derivatives."""
    import numpy as np

    c = np.exp(np.clip(z[:, 1:2], -_MOST_LOG, _MOST_LOG / 3))
    g = np.exp(np.clip(z[:, 2:3], -_MOST_LOG, _MOST_LOG))
    e = np.exp(np.minimum(-u, 600.0))
    fall = c * (np.log(e + g) - np.log1p(g))
    slopes = np.ones_like(u), fall, c * g * (1 / (e + g) - 1 / (1 + g))
    return z[:, :1] + fall, np.stack(slopes, -1)


def _floor_starts(last_C: Array, slope_C: Array) -> Array:
    import numpy as np

    share = np.array([0.05, 0.3, 0.6, 0.9, 0.7])
    boost = np.array([1.0, 1.0, 1.0, 1.0, 2.0])
    c = np.log(slope_C[:, None] * boost / (1 - share))
    z2 = np.broadcast_to(np.log(share / (1 - share)), c.shape)
    return np.stack([np.broadcast_to(last_C[:, None], c.shape), c, z2], -1)


def _shift_starts(last_C: Array, slope_C: Array) -> Array:
    import numpy as np

    g = np.array([0.03, 0.2, 1.0, 5.0])
    c = np.log(slope_C[:, None] * (1 + g))
    z2 = np.broadcast_to(np.log(g), c.shape)
    return np.stack([np.broadcast_to(last_C[:, None], c.shape), c, z2], -1)


_SHAPES = {"floor": _floor, "shift": _shift}
_STARTS = {"floor": _floor_starts, "shift": _shift_starts}
