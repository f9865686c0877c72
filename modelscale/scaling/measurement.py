"""The interval of a new measurement: the law's own doubt, noise, other forms, and misfit.

A law may be wrong beyond the data in a way that neither its resamples nor its residuals show.
That shows only where the top of the range was held out: the part of the error there which
noise, in the points and through the fit, does not explain is called misfit. It is known from as
many tests as there are cuts, since points above one cut are wrong together; so its part of the
interval has Student's quantile of one degree of freedom fewer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from modelscale.scaling.quantiles import student_quantile
from modelscale.scaling.ranking import CUTS, Form

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.scaling.bootstrap import Resampled

    Array = NDArray[np.float64]

_CREDIBLE = 2.0  # forms whose held-out error is within this factor of the best one's
_ROBUST_SD = 1.4826
_MISFIT_FREEDOM = len(CUTS) - 1


def reach_of(
    draws: Resampled,
    forms: Sequence[Form],
    inputs: Mapping[str, Array],
    predicted_Q: Array,
    level: float,
    beyond_Q: NDArray[np.bool_],
) -> Array:
    """Return half the width (Q,) of the interval of a measurement's log loss.

    Args:
        draws: Of the law that predicts.
        forms: All that were tried on the same points.
        inputs: Where, (Q,) each.
        predicted_Q: The law's losses there.
        level: Of the interval.
        beyond_Q: Which places are beyond the data: there the misfit counts.
    """
    import numpy as np

    tail = (1 + level) / 2
    law = draws.fit.law
    own = next((form for form in forms if form.fit.law == law), None)
    error = float("nan") if own is None else own.held_out
    others = [form for form in forms if form.fit.law != law]
    spread_Q = form_spread(credible(others, error, draws.noise), inputs, predicted_Q)
    sd_Q = np.sqrt(law_sd(draws, predicted_Q, inputs) ** 2 + draws.noise**2 + spread_Q**2)
    misfit_Q = np.where(beyond_Q, misfit(own), 0.0)
    found: Array = np.hypot(
        student_quantile(tail, draws.freedom) * sd_Q,
        student_quantile(tail, _MISFIT_FREEDOM) * misfit_Q,
    )
    return found


def misfit(form: Form | None) -> float:
    """Return the part of a held-out error that noise does not explain; 0 without a test."""
    if form is None or form.held_out != form.held_out:
        return 0.0
    return math.sqrt(max(form.held_out**2 - form.foreseen**2, 0.0))


def law_sd(draws: Resampled, predicted_Q: Array, inputs: Mapping[str, Array]) -> Array:
    """Return the standard deviation (Q,) of the law's log loss over resamples.

    From the quantiles that hold 80 %, since a few resamples may have gone astray.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        logs = np.log(draws.predict(inputs) / predicted_Q)
    logs = np.where(np.isfinite(logs), logs, np.nan)
    low, high = np.nanquantile(logs, [0.1, 0.9], axis=0)
    sd: Array = (high - low) / 2.563
    return sd


def credible(others: Sequence[Form], error: float, noise: float) -> list[Form]:
    """Return the forms that foretell a held-out top nearly as well as the law with `error`."""
    bound = _CREDIBLE * max(error, noise)
    return [form for form in others if form.held_out <= bound]


def form_spread(forms: Sequence[Form], inputs: Mapping[str, Array], value_Q: Array) -> Array:
    """Return how far forms' predictions (Q,) are from the best form's, in log loss."""
    import numpy as np

    gaps = []
    for form in forms:
        if set(form.fit.law.inputs) <= inputs.keys():
            with np.errstate(all="ignore"):
                gaps.append(np.abs(np.log(form.fit.predict(inputs) / value_Q)))
    gaps = [np.where(np.isfinite(gap), gap, np.nan) for gap in gaps]
    if not gaps:
        return np.zeros(len(value_Q))
    # Robust: one form that runs away far out is no reason to doubt the others.
    known = np.stack([*gaps, np.where(np.isfinite(gaps).any(0), np.nan, 0.0)])
    spread: Array = _ROBUST_SD * np.nanmedian(known, axis=0)
    return spread
