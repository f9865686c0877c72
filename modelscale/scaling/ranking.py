"""Which law to believe: by the error on the top of the range, which the fit has not seen.

Goodness of fit says little here: a law with more parameters always fits the points better, and
R² is near 1 for all of them. What counts is extrapolation, so each law is fitted to the lower
part of the range and judged on what lies above, at several cuts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.scaling.fitting import Fit, fit_law, noise_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.scaling.laws.base import LawSpec
    from modelscale.scaling.points import Points

    Array = NDArray[np.float64]

_ALIKE, _NOTHING = 1.05, 1e-5
_DETERMINED = 1e-8
_ROUGH = 1e-7  # tolerance of fits that are only compared

CUTS = (0.6, 0.7, 0.8)
"""Below which part of the range, by rank, a law is fitted in each back-test."""


@dataclass(frozen=True)
class Form:
    """A law fitted to all points, and how well it foretells the top of the range.

    Attributes:
        kind: The law's.
        fit: To all points.
        held_out: Root mean square of log(predicted / measured) on held-out tops, over cuts;
            NaN where too few points are below every cut.
        points: Held-out points, counted once a cut.
        foreseen: What `held_out` would be if the law were right: noise, and what noise does to
            the fits below the cuts.
    """

    kind: str
    fit: Fit
    held_out: float
    points: int
    foreseen: float


@dataclass(frozen=True)
class HeldOut:
    """What a law, fitted without the largest points, says about them.

    Attributes:
        keep_M: Which points it was fitted to.
        fit: That fit.
        predicted_Q: Its predictions of the others.
        measured_Q: Their losses.
        foreseen: Root mean square error of a right law, by noise and what it does to a fit.
    """

    keep_M: NDArray[np.bool_]
    fit: Fit
    predicted_Q: Array
    measured_Q: Array
    foreseen: float

    @property
    def error(self) -> float:
        """Root mean square of log(predicted / measured)."""
        import numpy as np

        return float(np.sqrt(np.mean(np.log(self.predicted_Q / self.measured_Q) ** 2)))


def scale_of(points: Points, inputs: Sequence[str]) -> Array:
    """Return by which number (M,) points are called large: compute, or else the law's input."""
    values: Array = points.inputs["compute"] if len(inputs) > 1 else points.inputs[inputs[0]]
    return values


def hold_out(law: LawSpec, points: Points, at: float, delta: float | None) -> HeldOut | None:
    """Return a fit without the largest points; None where too few are left or there is none.

    Args:
        law: The formula.
        points: All points.
        at: The part of the distinct scales that is kept, between 0 and 1.
        delta: Of the Huber function.
    """
    import numpy as np

    scale = scale_of(points, law.inputs)
    bound = float(np.quantile(np.unique(scale), at, method="lower"))
    keep = scale <= bound
    if keep.all() or keep.sum() < len(law.names()) + 1:
        return None
    fit = fit_law(law, points.only(keep), delta, _ROUGH)
    if fit is None:
        return None
    top = points.only(~keep)
    predicted = fit.predict(top.inputs)
    if not np.isfinite(predicted).all():
        return None
    return HeldOut(keep, fit, predicted, top.loss_M, _foreseen(fit, top))


def _foreseen(fit: Fit, top: Points) -> float:
    """Return the root mean square error of a right law on points that it was not fitted to.

    By linear propagation of the noise; directions that the points do not determine are left
    out, so that it is rather too small.
    """
    import numpy as np

    frame, z = fit.frame, fit.z_P[None]
    weight = np.sqrt(fit.points.weight_M)[:, None]
    own = np.nan_to_num(frame.slopes_at(z, frame.logs)[1][0]) * weight
    ahead = np.nan_to_num(frame.slopes_at(z, frame.logs_of(top.inputs))[1][0])
    share_Q = np.square(ahead @ np.linalg.pinv(own, rcond=_DETERMINED)).sum(1)
    return noise_of(fit) * float(np.sqrt(1 + share_Q.mean()))


def rank(laws: Mapping[str, LawSpec], points: Points, delta: float | None = None) -> list[Form]:
    """Return the laws that could be fitted, the one with the least held-out error first.

    Of laws whose errors are within 5 % of the least, the one with the fewest parameters comes
    first; where nothing can be held out, so it is throughout. A law that has as many parameters
    as there are points is left out; one that could not be back-tested comes after the others.
    """
    import numpy as np

    forms = []
    for kind, law in laws.items():
        if len(points) <= len(law.names()):
            continue
        fit = fit_law(law, points, delta)
        if fit is None:
            continue
        tests = [t for t in (hold_out(law, points, at, delta) for at in CUTS) if t is not None]
        error, foreseen = (
            float(np.sqrt(np.mean(np.square(values)))) if tests else float("nan")
            for values in ([t.error for t in tests], [t.foreseen for t in tests])
        )
        points_out = sum(len(t.measured_Q) for t in tests)
        forms.append(Form(kind, fit, error, points_out, foreseen))
    forms.sort(key=lambda form: (np.isnan(form.held_out), form.held_out))
    if not forms or np.isnan(forms[0].held_out):
        return sorted(forms, key=lambda form: len(form.fit.z_P))
    alike = _ALIKE * forms[0].held_out + _NOTHING
    equals = [form for form in forms if form.held_out <= alike]
    simplest = min(equals, key=lambda form: len(form.fit.z_P))
    return [simplest, *(form for form in forms if form is not simplest)]
