"""Intervals of extrapolated learning curves, from how wrong earlier extrapolations were.

A curve is cut several times within its fitted part and what follows is predicted; the error a
unit of log x is the curve's own drift, shrunk to that of all curves of the table. To it come
the spread of the ensemble and the noise of single measurements. That noise cannot be read off
fitted points that were smoothed: where a curve never rises and its points are farther apart
than those asked for, each is taken to be a mean of as many measurements as lie in its gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.scaling.curve_ensemble import Curve, Extrapolation, extrapolate
from modelscale.scaling.quantiles import student_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

CUTS = (2.0, 2.83, 4.0, 8.0)
"""By which factor a curve is shortened in each back-test; what follows is asked for up to
twice the cut."""

_LEAST_POINTS = 5
_USUAL_DRIFT = 0.04  # of log loss a unit of log x, where no curve can be back-tested
_SHRINKAGE = 3.0  # back-tests that the usual drift counts as
_FREEDOM = 10.0
_AHEAD = 2.1
_SMOOTHED_FROM = 12
_RECENT = 12


@dataclass(frozen=True)
class Foretold:
    """Predictions for one curve.

    Attributes:
        loss_Q: Predicted losses.
        sd_Q: Standard deviation of log(measured / predicted).
        drift: Error of log loss a unit of log x.
        noise: Of a single measurement, in log loss.
        back_tested: Earlier extrapolations that the drift was learnt from.
    """

    loss_Q: Array
    sd_Q: Array
    drift: float
    noise: float
    back_tested: int

    def interval(self, level: float) -> tuple[Array, Array]:
        """Return the ends (Q,) of the interval of a measurement."""
        import numpy as np

        reach = student_quantile((1 + level) / 2, _FREEDOM) * self.sd_Q
        return self.loss_Q * np.exp(-reach), self.loss_Q * np.exp(reach)


def foretell(curves: Sequence[Curve], places: Sequence[Array]) -> list[Foretold]:
    """Return what each curve will be at its own places.

    Args:
        curves: Measured parts, at least one point each.
        places: Positive sizes (Q,), for each curve.
    """
    import numpy as np

    views = extrapolate(curves, places)
    squares = _back_test(curves)
    known = [s for own in squares for s in own]
    usual = float(np.mean(known)) if len(known) > _SHRINKAGE else _USUAL_DRIFT**2
    found = []
    for curve, x, view, own in zip(curves, places, views, squares, strict=True):
        drift = np.sqrt((sum(own) + _SHRINKAGE * usual) / (len(own) + _SHRINKAGE))
        ahead = np.log(np.asarray(x, dtype=float) / curve.x_M[-1])
        noise = view.noise * _averaged(curve, np.asarray(x, dtype=float))
        spread = np.std(view.log_loss_KQ, axis=0)
        sd = np.sqrt(noise**2 + (drift * np.maximum(np.abs(ahead), 0.05)) ** 2 + spread**2)
        found.append(Foretold(np.exp(view.median()), sd, float(drift), noise, len(own)))
    return found


def _back_test(curves: Sequence[Curve]) -> list[list[float]]:
    """Return the squared drifts that each curve's earlier extrapolations showed."""
    cut, places, truths, whose = [], [], [], []
    for c, curve in enumerate(curves):
        for factor in CUTS:
            bound = curve.x_M[-1] / factor
            before = curve.x_M <= bound
            after = (curve.x_M > bound) & (curve.x_M <= _AHEAD * bound)
            if before.sum() < _LEAST_POINTS or not after.any():
                continue
            cut.append(Curve(curve.x_M[before], curve.loss_M[before]))
            places.append(curve.x_M[after])
            truths.append(curve.loss_M[after])
            whose.append(c)
    squares: list[list[float]] = [[] for _ in curves]
    if not cut:
        return squares
    views = extrapolate(cut, places)
    for c, piece, x, truth, view in zip(whose, cut, places, truths, views, strict=True):
        squares[c].append(_squared_drift(piece, x, truth, view))
    return squares


def _squared_drift(curve: Curve, x_Q: Array, truth_Q: Array, view: Extrapolation) -> float:
    """Return the mean square of an extrapolation's error, a unit of log x."""
    import numpy as np

    ahead = np.log(x_Q / curve.x_M[-1])
    error = view.median() - np.log(truth_Q)
    return float(np.sum(error**2) / np.sum(ahead**2))


def _averaged(curve: Curve, x_Q: Array) -> float:
    """Return by which factor a single measurement is noisier than the curve's own points."""
    import numpy as np

    if len(curve.x_M) < _SMOOTHED_FROM or not len(x_Q) > 1:
        return 1.0
    if (np.diff(curve.loss_M) > 0).any():
        return 1.0
    gaps = np.diff(np.unique(x_Q))
    own = np.diff(np.unique(curve.x_M))[-_RECENT:]
    if not len(gaps) or not len(own):
        return 1.0
    return float(np.sqrt(max(np.median(own) / np.median(gaps), 1.0)))
