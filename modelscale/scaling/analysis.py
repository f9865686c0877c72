"""The whole of a fit: forms ranked, outliers weighed, the best law resampled and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelscale.scaling.bootstrap import RESAMPLES, Interval, Resampled, Scheme, resample
from modelscale.scaling.fitting import Fit, resolved
from modelscale.scaling.measurement import reach_of
from modelscale.scaling.outliers import Rule, with_and_without
from modelscale.scaling.ranking import Form, hold_out, rank, scale_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.scaling.laws.base import LawSpec
    from modelscale.scaling.points import Points

    Array = NDArray[np.float64]

HELD_OUT_AT = 0.8


@dataclass(frozen=True)
class Options:
    """How points are analysed.

    Attributes:
        level: Of all intervals.
        seed: Of the resampling.
        resamples: How many.
        scheme: How points are resampled.
        delta: Of the Huber function; None chooses by the number of points.
        rule: Which points are outliers.
    """

    level: float = 0.9
    seed: int = 0
    resamples: int = RESAMPLES
    scheme: Scheme = "auto"
    delta: float | None = None
    rule: Rule = field(default_factory=lambda: Rule("auto"))


@dataclass(frozen=True)
class Judged:
    """Measured points beside what a fit that has not seen them says.

    Attributes:
        points: The held-out points.
        predicted_Q: Predicted losses.
        low_Q: Lower ends of the intervals of a measurement.
        high_Q: Upper ends.
        fitted: Number of points that the fit saw.
    """

    points: Points
    predicted_Q: Array
    low_Q: Array
    high_Q: Array
    fitted: int

    @property
    def error(self) -> float:
        """Root mean square of log(predicted / measured)."""
        import numpy as np

        return float(np.sqrt(np.mean(np.log(self.predicted_Q / self.points.loss_M) ** 2)))

    @property
    def inside(self) -> int:
        """How many measurements lie inside their intervals."""
        loss = self.points.loss_M
        return int(((self.low_Q <= loss) & (loss <= self.high_Q)).sum())


@dataclass(frozen=True)
class Analysis:
    """What points say about laws.

    Attributes:
        points: All of them.
        keep_M: Which the fits use; the others are outliers.
        forms: All laws that could be fitted, best first.
        whole: The best law fitted to all points, outliers included.
        resampled: The best law and its resamples.
        judged: The best law, fitted without the top of the range, on that top.
        options: How it was done.
    """

    points: Points
    keep_M: NDArray[np.bool_]
    forms: tuple[Form, ...]
    whole: Fit | None
    resampled: Resampled
    judged: Judged | None
    options: Options

    @property
    def fit(self) -> Fit:
        """The best law's fit."""
        return self.resampled.fit

    @property
    def kind(self) -> str:
        """The best law's kind."""
        return self.forms[0].kind

    def params(self) -> dict[str, Interval]:
        """Return the best law's parameters with their intervals."""
        pairs = zip(self.fit.params.items(), self.resampled.params().T, strict=True)
        level = self.options.level
        found = {}
        for (name, value), draws in pairs:
            ends = self.resampled.interval(value, draws, level)
            found[name] = Interval(
                *(resolved(self.fit.law, self.fit.points, name, end) for end in ends)
            )
        return found


def analyse(points: Points, laws: Mapping[str, LawSpec], options: Options) -> Analysis:
    """Return what points say about some laws.

    Args:
        points: What was measured.
        laws: Candidates by kind, all with inputs that the points have.
        options: How to fit, resample and leave points out.

    Raises:
        ValueError: If there are too few points for every law, or the outlier rule does not fit.
    """
    forms = rank(laws, points, options.delta)
    if not forms:
        least = min(len(law.names()) + 1 for law in laws.values())
        raise ValueError(f"{len(points)} points are too few: the simplest law needs {least}")
    # Outliers are judged by the law that foretells best, then all laws do without them.
    fit, whole, keep = with_and_without(forms[0].fit.law, points, options.rule, options.delta)
    if not keep.all():
        forms = rank(laws, points.only(keep), options.delta) or forms
        if forms[0].fit.law != fit_law_of(fit):
            from modelscale.scaling.fitting import fit_law

            whole = fit_law(forms[0].fit.law, points, options.delta)
    best = forms[0].fit
    resampled = resample(best, options.seed, options.resamples, options.scheme)
    kept = points.only(keep)
    top = hold_out(best.law, kept, HELD_OUT_AT, options.delta)
    judged = None
    if top is not None:
        below = rank(laws, kept.only(top.keep_M), options.delta)
        judged = judge(top.fit, kept.only(~top.keep_M), below, options)
    return Analysis(points, keep, tuple(forms), whole, resampled, judged, options)


def fit_law_of(fit: Fit | None) -> LawSpec | None:
    """Return the law of a fit, if there is one."""
    return None if fit is None else fit.law


def judge(fit: Fit, top: Points, forms: Sequence[Form], options: Options) -> Judged:
    """Return what a fit says about points that it has not seen.

    Args:
        fit: Of the points below.
        top: The held-out points.
        forms: What was tried on the points below alone.
        options: Level and resampling of the intervals, which are those of a measurement.
    """
    import numpy as np

    draws = resample(fit, options.seed, options.resamples, options.scheme)
    predicted = fit.predict(top.inputs)
    beyond = np.ones(len(top), dtype=bool)
    reach = reach_of(draws, forms, top.inputs, predicted, options.level, beyond)
    return Judged(
        top, predicted, predicted * np.exp(-reach), predicted * np.exp(reach), len(fit.points)
    )


@dataclass(frozen=True)
class Prediction:
    """A predicted loss.

    Attributes:
        inputs: Where.
        law: The best law's loss with the interval of its resamples alone.
        whole: The same loss with the interval of a measurement: it also has the noise, the
            spread over credible forms and the error that held-out points showed.
        beyond: How many times larger than the largest point it is; 1 within the data.
    """

    inputs: dict[str, float]
    law: Interval
    whole: Interval
    beyond: float


def predict(analysis: Analysis, inputs: Mapping[str, float]) -> Prediction:
    """Return the loss that is to be expected at some inputs.

    Args:
        analysis: Of the measured points.
        inputs: One value for each input of the best law.
    """
    import numpy as np

    at = {name: np.array([value], dtype=float) for name, value in inputs.items()}
    fit, draws, level = analysis.fit, analysis.resampled, analysis.options.level
    value = float(fit.predict(at)[0])
    law = draws.interval(value, draws.predict(at)[:, 0], level)
    beyond = times_beyond(analysis, inputs)
    outside = np.array([beyond > 1])
    known = np.array([value])
    reach = float(reach_of(draws, analysis.forms, at, known, level, outside)[0])
    whole = Interval(value, value * float(np.exp(-reach)), value * float(np.exp(reach)))
    return Prediction(dict(inputs), law, whole, beyond)


def times_beyond(analysis: Analysis, inputs: Mapping[str, float]) -> float:
    """Return how many times a question exceeds the data, in the most exceeded scale."""
    used = analysis.points.only(analysis.keep_M)
    law = analysis.fit.law
    ratios = [1.0]
    for name in law.inputs:
        values = used.inputs[name]
        ratios += [inputs[name] / float(values.max()), float(values.min()) / inputs[name]]
    if {"parameters", "tokens"} <= set(law.inputs):
        largest = float(scale_of(used, law.inputs).max())
        ratios.append(6 * inputs["parameters"] * inputs["tokens"] / largest)
    return max(ratios)
