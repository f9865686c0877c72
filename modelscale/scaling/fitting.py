"""Fitting one law to points: starts by variable projection, then a robust polish.

What is minimised is the sum, never the mean, over points of `weight * huber(r)` with r the
difference of the logarithms of predicted and measured loss (Hoffmann et al.,
arXiv:2203.15556). A mean would shrink the objective below the tolerances of optimizers, which
then stop early (Besiroglu et al., arXiv:2404.10102); here the search ends only when no further
gain can be told from rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.scaling.solver import minimise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.scaling.laws.base import LawSpec
    from modelscale.scaling.points import Points

    Array = NDArray[np.float64]

DELTA = 1e-3
"""Where the Huber function turns from a square to a line, in nats of log loss."""

AMPLE = 20
"""Points a parameter from which neither the fit nor its intervals need to be sparing."""

RESOLUTION = 1e-6
"""Part of the lowest loss below which a floor cannot be told from zero."""

TOLERANCE = 1e-13
_EFFICIENT = 1.345
_FINALISTS = 3  # starts that are followed to the end
_MOST_STEPS = 300
_SHARES_SCALE = {"unique_tokens": "tokens"}
_LEAST_LOG, _MOST_LOG = -70.0, 70.0


class Frame:
    """A law and points in units in which both are about 1, and unknowns without bounds.

    Unknowns z are the logarithms of positive parameters and the signed ones as they are.
    """

    def __init__(self, law: LawSpec, points: Points) -> None:
        """Choose units: geometric means.

        Raises:
            KeyError: If the points lack an input of the law.
        """
        import numpy as np

        self.law, self.points = law, points
        centre = {n: float(np.exp(np.log(points.inputs[n]).mean())) for n in law.inputs}
        self.scales = tuple(centre[_SHARES_SCALE.get(name, name)] for name in law.inputs)
        self.loss = 1.0 if law.bounded else float(np.exp(np.log(points.loss_M).mean()))
        self.target_M = np.log(points.loss_M / self.loss)
        self.logs = self.logs_of(points.inputs)
        self.names = law.names()
        self.positive_P = np.array([name not in law.signed for name in self.names])

    def logs_of(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        """Return the law's inputs in the frame's units, as logarithms."""
        import numpy as np

        pairs = zip(self.law.inputs, self.scales, strict=True)
        return tuple(np.log(np.asarray(inputs[name], dtype=float) / s) for name, s in pairs)

    def starts(self) -> Array:
        """Return unknowns (S, P) from which to search."""
        import numpy as np

        theta = self.law.starts(self.logs, self.points.loss_M / self.loss)
        with np.errstate(all="ignore"):
            z = np.where(self.positive_P, np.log(theta), theta)
        found: Array = z[np.isfinite(z).all(1)]
        return found

    def theta(self, z_BP: Array) -> Array:
        """Return parameters in the frame's units."""
        import numpy as np

        logs = np.clip(np.where(self.positive_P, z_BP, 0), _LEAST_LOG, _MOST_LOG)
        result: Array = np.where(self.positive_P, np.exp(logs), z_BP)
        return result

    def natural(self, z_BP: Array) -> Array:
        """Return parameters in the user's units."""
        import numpy as np

        with np.errstate(all="ignore"):
            return self.law.in_units(self.theta(z_BP), self.scales, self.loss)

    def predict(self, z_BP: Array, inputs: Mapping[str, Array]) -> Array:
        """Return predicted losses (B, Q) in the user's unit for inputs (Q,) each."""
        import numpy as np

        columns = [c[:, None] for c in self.theta(z_BP).T]
        with np.errstate(all="ignore"):
            logs = np.real(self.law.log_loss(columns, *self.logs_of(inputs)))
        losses: Array = np.exp(logs) * self.loss
        return np.broadcast_to(losses, (len(z_BP), losses.shape[1]))

    def with_jacobian(self, z_BP: Array, _which: NDArray[np.int64]) -> tuple[Array, Array]:
        """Return predictions (B, M) in the frame and their derivatives by z (B, M, P)."""
        return self.slopes_at(z_BP, self.logs)

    def slopes_at(self, z_BP: Array, logs: tuple[Array, ...]) -> tuple[Array, Array]:
        """Return predictions (B, Q) in the frame and their derivatives by z (B, Q, P)."""
        import numpy as np

        theta = self.theta(z_BP)
        columns = [c[:, None] for c in theta.T]
        value, slopes = self.law.with_slopes(columns, *logs)
        chain = np.where(self.positive_P, theta, 1.0)
        B, Q = len(z_BP), len(logs[0])
        jac = np.empty((B, Q, len(columns)))
        for p, slope in enumerate(slopes):
            np.multiply(slope, chain[:, p, None], out=jac[..., p])
        return np.broadcast_to(value, (B, Q)), jac


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    Attributes:
        law: The formula.
        points: What it was fitted to.
        params: Parameters by name, in the user's units; a floor that cannot be told from
            zero is 0, where its search is bounded.
        objective: The sum that was minimised.
        residual_M: log(predicted) - log(measured) of each point.
        delta: Of the Huber function.
        frame: Units of the search.
        z_P: Unknowns at the minimum.
    """

    law: LawSpec
    points: Points
    params: dict[str, float]
    objective: float
    residual_M: Array
    delta: float
    frame: Frame
    z_P: Array

    def predict(self, inputs: Mapping[str, Array]) -> Array:
        """Return the losses (Q,) that the law says for inputs (Q,) each."""
        loss: Array = self.frame.predict(self.z_P[None], inputs)[0]
        return loss

    @property
    def freedom(self) -> int:
        """Points that count, less fitted parameters; may be zero or below."""
        return int((self.points.weight_M > 0).sum()) - len(self.z_P)


def fit_law(
    law: LawSpec, points: Points, delta: float | None = None, tolerance: float = TOLERANCE
) -> Fit | None:
    """Return a law fitted to points; None if no start leads to a finite fit.

    Args:
        law: The formula.
        points: What was measured; it must have the law's inputs.
        delta: Of the Huber function, in nats; infinite for least squares. None means 1e-3, as
            Hoffmann et al. have it, from 20 points a parameter on. That is nearly a fit of
            absolute values, which wastes a third of the data, so with fewer points it is 1.345
            standard deviations of the noise (Huber, Ann. Math. Statist. 35, 1964).
        tolerance: Of the search: the part of the objective below which a gain is none.
    """
    frame = Frame(law, points)
    starts = frame.starts()
    if not len(starts):
        return None
    ample = len(points) >= AMPLE * len(frame.names)
    first = _fit(frame, DELTA if delta is None else delta, starts, tolerance)
    if first is None or delta is not None or ample:
        return first
    efficient = max(DELTA, _EFFICIENT * noise_of(first))
    return _fit(frame, efficient, first.z_P[None], tolerance)


def noise_of(fit: Fit) -> float:
    """Return the standard deviation of log loss about a law, little moved by outliers."""
    import numpy as np

    weight = fit.points.weight_M
    r, w = fit.residual_M[weight > 0], weight[weight > 0]
    if len(r) <= len(fit.z_P):
        return 0.0
    small = 1.4826 * float(np.median(np.abs(r) * np.sqrt(w)))
    clipped = np.clip(r, -3 * small, 3 * small) if small > 0 else r
    return float(np.sqrt(np.sum(w * clipped**2) / (len(r) - len(fit.z_P))))


def resolved(law: LawSpec, points: Points, name: str, value: float) -> float:
    """Return a parameter, or 0 for a floor that points cannot tell from it."""
    if name == law.floor and 0 <= value < RESOLUTION * float(points.loss_M.min()):
        return 0.0
    return value


def _fit(frame: Frame, delta: float, starts: Array, tolerance: float) -> Fit | None:
    import numpy as np

    law, points = frame.law, frame.points
    M = len(points)
    z, wide = starts, max(np.ptp(frame.target_M) / 10, 10 * min(delta, 1e-3))
    while wide > 2 * delta:  # smooth problems first, each the start of a sharper one
        shape = len(z), M
        target = np.broadcast_to(frame.target_M, shape)
        weight = np.broadcast_to(points.weight_M, shape)
        near = minimise(frame.with_jacobian, z, target, weight, wide, 60, 1e-5)
        z = near.z_BP[np.argsort(near.cost_B, kind="stable")[:_FINALISTS]]
        wide /= 10
    target = np.broadcast_to(frame.target_M, (len(z), M))
    weight = np.broadcast_to(points.weight_M, (len(z), M))
    found = minimise(frame.with_jacobian, z, target, weight, delta, _MOST_STEPS, tolerance)
    best = int(np.argmin(found.cost_B))
    if not np.isfinite(found.cost_B[best]):
        return None
    z_P = found.z_BP[best]
    theta = frame.natural(z_P[None])[0]
    value, _ = frame.with_jacobian(z_P[None], np.zeros(1, dtype=np.int64))
    return Fit(
        law,
        points,
        {
            name: resolved(law, points, name, float(t))
            for name, t in zip(frame.names, theta, strict=True)
        },
        float(found.cost_B[best]),
        value[0] - frame.target_M,
        delta,
        frame,
        z_P,
    )
