"""Which points a fit leaves out, by a rule that is stated and whose effect is shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from modelscale.scaling.fitting import Fit, fit_law, noise_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.scaling.laws.base import LawSpec
    from modelscale.scaling.points import Points

DEVIATIONS = 10.0
"""A point is an outlier if its residual exceeds so many standard deviations of the noise."""

MOST_FRAC = 0.05
"""At most this part of the points is left out; a law that fits worse than that is wrong."""

_FEW = 12
_LEAST_NOISE = 1e-3
_HIGHEST = re.compile(r"(highest|residual):([1-9][0-9]{0,5})")


class Rule(NamedTuple):
    """How outliers are chosen.

    Attributes:
        kind: "auto" by residuals beyond a bound, "none", the points of "highest" loss, or
            those of largest "residual".
        most: For the last two.
    """

    kind: Literal["auto", "none", "highest", "residual"]
    most: int = 0

    def told(self) -> str:
        """Return the rule in words."""
        match self.kind:
            case "none":
                return "no point is left out"
            case "highest":
                return f"the {self.most} points of highest loss are left out"
            case "residual":
                return f"the {self.most} points farthest from the law are left out, one by one"
        return (
            f"points more than {DEVIATIONS:g} standard deviations of the noise from the law "
            f"are left out, one by one, at most {MOST_FRAC:.0%} of all"
        )


def rule_of(text: str) -> Rule | None:
    """Return the rule that a text means; None if it means none."""
    if text in {"auto", "none"}:
        return Rule("auto" if text == "auto" else "none")
    match = _HIGHEST.fullmatch(text)
    if match is None:
        return None
    return Rule("highest" if match[1] == "highest" else "residual", int(match[2]))


def kept_points(
    law: LawSpec, points: Points, rule: Rule, delta: float | None
) -> NDArray[np.bool_]:
    """Return which points (M,) a fit of a law is to use.

    Raises:
        ValueError: If the rule leaves none.
    """
    import numpy as np

    keep = np.ones(len(points), dtype=bool)
    if rule.kind == "none":
        return keep
    if rule.kind == "highest":
        if rule.most >= len(points):
            raise ValueError(
                f"the table has {len(points)} points, {rule.most} cannot be left out"
            )
        keep[np.argsort(-points.loss_M, kind="stable")[: rule.most]] = False
        return keep
    most = rule.most if rule.kind == "residual" else int(MOST_FRAC * len(points))
    if rule.kind == "auto" and len(points) < _FEW:
        return keep
    for _ in range(min(most, len(points) - 1)):
        fit = fit_law(law, points.only(keep), delta)
        if fit is None or (rule.kind == "auto" and fit.freedom < 1):
            break
        worst = int(np.argmax(np.abs(fit.residual_M)))
        bound = DEVIATIONS * max(noise_of(fit), _LEAST_NOISE)
        if rule.kind == "auto" and abs(fit.residual_M[worst]) <= bound:
            break
        keep[np.flatnonzero(keep)[worst]] = False
    return keep


def with_and_without(
    law: LawSpec, points: Points, rule: Rule, delta: float | None
) -> tuple[Fit | None, Fit | None, NDArray[np.bool_]]:
    """Return the fit by the rule, the fit of all points, and which points the first used."""
    keep = kept_points(law, points, rule, delta)
    whole = fit_law(law, points, delta)
    return (whole if keep.all() else fit_law(law, points.only(keep), delta)), whole, keep
