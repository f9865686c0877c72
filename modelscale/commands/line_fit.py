"""A line through points: what was learnt, in the data's own units, and what can be computed.

A linear model of one number is the one network whose best weights are known in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from modelscale.commands.documents import clean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.preprocessing import Preprocessing


@dataclass(frozen=True)
class Line:
    """y = weight · x + bias, in the data's own units."""

    weight: float
    bias: float


@dataclass(frozen=True)
class Coefficient:
    """An estimated number, with a 95 % interval.

    Attributes:
        value: The estimate.
        low: Lower end; NaN where there is no interval.
        high: Upper end; NaN where there is no interval.
        standard_error: Of the estimate; NaN where it is not known.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    standard_error: float = math.nan


@dataclass(frozen=True)
class LeastSquares:
    """The line with the smallest mean squared error, by the normal equations.

    Attributes:
        weight: Slope, with Student's t interval of n - 2 degrees of freedom.
        bias: Value at x = 0, likewise.
        count: Points.
        mean_squared_error: Sum of squared residuals / n: no line has a smaller one.
        residual_variance: Sum of squared residuals / (n - 2), an unbiased estimate of the
            noise; NaN for two points.
        mean_x: Mean of x.
        spread_x: Sum of squared deviations of x from its mean.
        reach: Standard errors from the middle to either end of an interval.
    """

    weight: Coefficient
    bias: Coefficient
    count: int
    mean_squared_error: float
    residual_variance: float
    mean_x: float
    spread_x: float
    reach: float

    @property
    def line(self) -> Line:
        """The line itself."""
        return Line(self.weight.value, self.bias.value)

    def half_width(self, x: float) -> float:
        """Return half the width of the interval of the mean of y at x."""
        leverage = 1 / self.count + (x - self.mean_x) ** 2 / self.spread_x
        return self.reach * math.sqrt(self.residual_variance * leverage)


@dataclass(frozen=True)
class LineFit:
    """A trained line beside the computed one.

    Attributes:
        weight: Trained slope; the mean over members.
        bias: Trained value at x = 0; the mean over members.
        interval: What the trained numbers' intervals come from: Student's t over the members,
            or, for one member, the standard errors of the least squares.
        members: Trained lines behind it.
        mean_squared_error: Of the trained line on the training points; mean over members.
        least_squares: The computed line.
        noise_variance: Variance of the generator of the data; None if nobody knows it.
    """

    weight: Coefficient
    bias: Coefficient
    interval: Literal["student_t_over_members", "least_squares_standard_errors"]
    members: int
    mean_squared_error: float
    least_squares: LeastSquares
    noise_variance: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the `fit` of the report's JSON document; what is not finite is null."""
        best = self.least_squares
        content = {
            "weight": _ends(self.weight),
            "bias": _ends(self.bias),
            "interval": self.interval,
            "members": self.members,
            "mean_squared_error": self.mean_squared_error,
            "least_squares": {
                "weight": asdict(best.weight),
                "bias": asdict(best.bias),
                "count": best.count,
                "mean_squared_error": best.mean_squared_error,
                "residual_variance": best.residual_variance,
            },
            "noise_variance": self.noise_variance,
        }
        return dict(clean(content))


def least_squares(
    x_N: NDArray[np.float64], y_N: NDArray[np.float64], confidence: float = 0.95
) -> LeastSquares | None:
    """Return the least-squares line through points; None if no line is determined.

    Standard errors are those of independent noise of equal variance: s / √Sxx for the weight
    and s · √(1/n + x̄²/Sxx) for the bias, with s² the residual variance.

    Args:
        x_N: (N,) finite numbers.
        y_N: (N,) finite numbers.
        confidence: Nominal coverage of the intervals.
    """
    from modelscale.evaluation.student import t_quantile

    n = len(x_N)
    if n < 2:
        return None
    mean_x, mean_y = float(x_N.mean()), float(y_N.mean())
    dx_N = x_N - mean_x
    spread = float(dx_N @ dx_N)
    if not spread > 0:
        return None
    weight = float(dx_N @ (y_N - mean_y)) / spread
    bias = mean_y - weight * mean_x
    residual_N = y_N - mean_y - weight * dx_N
    squares = float(residual_N @ residual_N)
    variance = squares / (n - 2) if n > 2 else math.nan
    reach = t_quantile((1 + confidence) / 2, n - 2) if n > 2 else math.nan
    weight_error = math.sqrt(variance / spread)
    bias_error = math.sqrt(variance * (1 / n + mean_x**2 / spread))
    return LeastSquares(
        _around(weight, weight_error, reach),
        _around(bias, bias_error, reach),
        n,
        squares / n,
        variance,
        mean_x,
        spread,
        reach,
    )


def in_data_units(weight: float, bias: float, preprocessing: Preprocessing) -> Line | None:
    """Return what a linear layer of one input and one output says of the data's own units.

    The layer sees (x - mean) / scale and answers (y - mean) / scale; both are undone.

    Returns:
        None where x is not a single plain number, or y is learnt as a logarithm.
    """
    columns, targets = preprocessing.numeric, preprocessing.targets
    one = len(columns) == 1 and len(targets) == 1 and not preprocessing.categories
    if not one or columns[0].indicator or targets[0].log:
        return None
    x, y = columns[0], targets[0]
    slope = weight * y.scale / x.scale
    return Line(slope, bias * y.scale + y.mean - slope * x.mean)


def fit_of(
    lines: Sequence[Line],
    x_N: NDArray[np.float64],
    y_N: NDArray[np.float64],
    noise_variance: float | None = None,
) -> LineFit | None:
    """Return trained lines beside the closed form; None if the points determine no line.

    Args:
        lines: One for each member; at least one.
        x_N: (N,) the training points.
        y_N: (N,) their targets.
        noise_variance: Of the data's generator, if known.
    """
    best = least_squares(x_N, y_N)
    if best is None:
        return None
    errors = [float(((y_N - line.weight * x_N - line.bias) ** 2).mean()) for line in lines]
    alone = len(lines) == 1
    return LineFit(
        _trained([line.weight for line in lines], best.weight, best.reach),
        _trained([line.bias for line in lines], best.bias, best.reach),
        "least_squares_standard_errors" if alone else "student_t_over_members",
        len(lines),
        math.fsum(errors) / len(errors),
        best,
        noise_variance,
    )


def _trained(values: Sequence[float], computed: Coefficient, reach: float) -> Coefficient:
    from modelscale.evaluation.student import mean_over_seeds

    if len(values) == 1:
        return _around(values[0], computed.standard_error, reach)
    mean = mean_over_seeds(values)
    return Coefficient(mean.mean, mean.low, mean.high, mean.std / math.sqrt(mean.n))


def _around(value: float, error: float, reach: float) -> Coefficient:
    return Coefficient(value, value - reach * error, value + reach * error, error)


def _ends(coefficient: Coefficient) -> dict[str, float]:
    return {"value": coefficient.value, "low": coefficient.low, "high": coefficient.high}
