"""What a report's plots show: the data of each sort of plot, without a word on how it looks.

NaN stands for a number that is not there. A plot without data is legal: it is drawn as a
sentence that says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Numbers: TypeAlias = tuple[float, ...]
Direction: TypeAlias = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Series:
    """One line: y against x, with a band between `low` and `high` where those are given."""

    name: str
    x: Numbers = ()
    y: Numbers = ()
    low: Numbers = ()
    high: Numbers = ()

    def __post_init__(self) -> None:
        assert len(self.x) == len(self.y), f"{self.name}: {len(self.x)} x, {len(self.y)} y"
        assert len(self.low) == len(self.high), self.name
        assert len(self.low) in {0, len(self.y)}, self.name


@dataclass(frozen=True)
class Mark:
    """A named place on the horizontal axis, such as the epoch that was kept."""

    x: float
    label: str


@dataclass(frozen=True)
class Curves:
    """Lines over a common axis: loss by epoch, a learning curve, a scaling law."""

    title: str
    series: tuple[Series, ...] = ()
    x_label: str = ""
    y_label: str = ""
    log_x: bool = False
    log_y: bool = False
    marks: tuple[Mark, ...] = ()
    caption: str = ""


@dataclass(frozen=True)
class Confusion:
    """How often each class was taken for each; drawn with colours by share of the true class.

    Attributes:
        title: Heading.
        labels: Classes in order, C of them.
        counts: (C, C); `counts[true][predicted]`.
        caption: What to see in it.
    """

    title: str
    labels: tuple[str, ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()
    caption: str = ""

    def __post_init__(self) -> None:
        sizes = {len(self.labels), len(self.counts), *map(len, self.counts)}
        assert len(sizes) == 1, f"confusion matrix of sizes {sorted(sizes)}"


@dataclass(frozen=True)
class Bin:
    """Predictions of like confidence.

    Attributes:
        confidence: Their mean confidence.
        accuracy: The share that was right.
        count: How many there are.
        low: Lower end of the accuracy's interval.
        high: Upper end of it.
    """

    confidence: float
    accuracy: float
    count: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Calibration:
    """Whether a confidence of 80 % is right 80 % of the time; with the counts below it."""

    title: str
    bins: tuple[Bin, ...] = ()
    caption: str = ""


@dataclass(frozen=True)
class Scatter:
    """Predicted against actual values of a regression, on equal axes."""

    title: str
    actual: Numbers = ()
    predicted: Numbers = ()
    label: str = "value"
    caption: str = ""

    def __post_init__(self) -> None:
        assert len(self.actual) == len(self.predicted), self.title


@dataclass(frozen=True)
class Residuals:
    """Actual minus predicted values against the predicted, and how they are distributed."""

    title: str
    predicted: Numbers = ()
    residuals: Numbers = ()
    label: str = "value"
    caption: str = ""

    def __post_init__(self) -> None:
        assert len(self.predicted) == len(self.residuals), self.title


@dataclass(frozen=True)
class FittedLine:
    """A regression on one feature: the points, what was learnt, and what could be computed.

    Attributes:
        title: Heading.
        x: Feature of each example.
        y: Target of each example.
        model: The model's predictions along the feature, with its band.
        closed_form: The solution of the normal equations along the feature, for comparison.
        x_label: Name of the feature.
        y_label: Name of the target.
        caption: What to see in it, such as the error beside the noise floor.
    """

    title: str
    x: Numbers = ()
    y: Numbers = ()
    model: Series | None = None
    closed_form: Series | None = None
    x_label: str = "x"
    y_label: str = "y"
    caption: str = ""

    def __post_init__(self) -> None:
        assert len(self.x) == len(self.y), self.title


@dataclass(frozen=True)
class BarSeries:
    """One value for each label, with an interval where `low` and `high` are given."""

    name: str
    values: Numbers = ()
    low: Numbers = ()
    high: Numbers = ()

    def __post_init__(self) -> None:
        assert len(self.low) == len(self.high), self.name
        assert len(self.low) in {0, len(self.values)}, self.name


@dataclass(frozen=True)
class Bars:
    """Values by label: a class's precision and recall, a parameter's importance, a run's score.

    One series without intervals is drawn as bars from zero; several, or intervals, as dots
    with whiskers on an axis that is as long as the values need.
    """

    title: str
    labels: tuple[str, ...] = ()
    series: tuple[BarSeries, ...] = ()
    x_label: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        assert all(len(s.values) == len(self.labels) for s in self.series), self.title


@dataclass(frozen=True)
class History:
    """A study as it went: each trial's value and the best so far, beside a random search.

    Attributes:
        title: Heading.
        values: Value of each trial in order; NaN for a trial that has none.
        best_so_far: Best value up to each trial.
        random_best: Best value of a random search after as many trials; empty if not known.
        stopped: Indices of trials that were given up early.
        direction: Which values are better.
        metric: Name of the value.
        caption: What to see in it.
        infeasible: Indices of trials that break a constraint.
    """

    title: str
    values: Numbers = ()
    best_so_far: Numbers = ()
    random_best: Numbers = ()
    stopped: tuple[int, ...] = ()
    direction: Direction = "minimize"
    metric: str = "value"
    caption: str = ""
    infeasible: tuple[int, ...] = ()


@dataclass(frozen=True)
class Axis:
    """One hyper-parameter's value in each trial: numbers, or words for choices."""

    name: str
    values: tuple[float | str, ...] = ()
    log: bool = False


@dataclass(frozen=True)
class ParallelCoordinates:
    """All trials through all hyper-parameters at once; the best tenth stands out.

    Attributes:
        title: Heading.
        axes: The hyper-parameters, a value for each trial.
        scores: Value of each trial; NaN for a trial that has none, which is not drawn.
        direction: Which values are better.
        metric: Name of the value.
        caption: What to see in it.
    """

    title: str
    axes: tuple[Axis, ...] = ()
    scores: Numbers = ()
    direction: Direction = "minimize"
    metric: str = "value"
    caption: str = ""

    def __post_init__(self) -> None:
        assert all(len(axis.values) == len(self.scores) for axis in self.axes), self.title


@dataclass(frozen=True)
class SliceScatter:
    """Trials' values against one hyper-parameter.

    Attributes:
        param: Name of the hyper-parameter; also the heading.
        values: Its value in each trial: numbers, or words for choices.
        scores: Value of each trial; NaN for a trial that has none.
        log: Whether the parameter is on a logarithmic axis.
        direction: Which values are better.
        metric: Name of the value.
        caption: What to see in it.
    """

    param: str
    values: tuple[float | str, ...] = ()
    scores: Numbers = ()
    log: bool = False
    direction: Direction = "minimize"
    metric: str = "value"
    caption: str = ""

    def __post_init__(self) -> None:
        assert len(self.values) == len(self.scores), self.param

    @property
    def title(self) -> str:
        """The heading."""
        return self.param


@dataclass(frozen=True)
class TradeOff:
    """Two objectives of a search against each other, with the trials that none dominates.

    Attributes:
        title: Heading.
        x: One objective of each trial; NaN for a trial that has none.
        y: The other one.
        front: Indices of the trials on the Pareto front; they are connected by stairs.
        stopped: Indices of trials that were given up early.
        infeasible: Indices of trials that break a constraint.
        x_direction: Which values of x are better.
        y_direction: Which values of y are better.
        x_label: Name of x.
        y_label: Name of y.
        log_x: Whether x is on a logarithmic axis.
        log_y: Whether y is.
        connected: Whether the front is one of these two objectives alone, so that what lies
            between its points can be drawn.
        caption: What to see in it.
        y_low: Lower ends of the intervals of y; empty where there are none.
        y_high: Upper ends.
        of: What the points are.
    """

    title: str
    x: Numbers = ()
    y: Numbers = ()
    front: tuple[int, ...] = ()
    stopped: tuple[int, ...] = ()
    infeasible: tuple[int, ...] = ()
    x_direction: Direction = "minimize"
    y_direction: Direction = "minimize"
    x_label: str = "x"
    y_label: str = "y"
    log_x: bool = False
    log_y: bool = False
    connected: bool = True
    caption: str = ""
    y_low: Numbers = ()
    y_high: Numbers = ()
    of: str = "trials"

    def __post_init__(self) -> None:
        assert len(self.x) == len(self.y), self.title
        assert len(self.y_low) == len(self.y_high)
        assert len(self.y_low) in {0, len(self.y)}


@dataclass(frozen=True)
class LadderSize:
    """The runs of one size.

    Attributes:
        name: Such as `25.4k parameters`.
        x: Where each run stands.
        y: What it measured.
        law: What the law says of the size; None without one.
    """

    name: str
    x: Numbers = ()
    y: Numbers = ()
    law: Series | None = None

    def __post_init__(self) -> None:
        assert len(self.x) == len(self.y), self.name


@dataclass(frozen=True)
class Foretold:
    """What a law said of a rung that its fit has not seen, and what was measured."""

    x: float
    measured: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ScalingLaw:
    """Measured runs of a ladder by size, with the law and its bands, on logarithmic axes.

    Attributes:
        title: Heading.
        sizes: Smallest first.
        held_out: Rungs on which the law was tested.
        x_label: Name of x.
        y_label: Name of y.
        caption: What to see in it.
    """

    title: str
    sizes: tuple[LadderSize, ...] = ()
    held_out: tuple[Foretold, ...] = ()
    x_label: str = ""
    y_label: str = ""
    caption: str = ""


Plot: TypeAlias = (
    Curves
    | Confusion
    | Calibration
    | Scatter
    | Residuals
    | FittedLine
    | Bars
    | History
    | ParallelCoordinates
    | SliceScatter
    | TradeOff
    | ScalingLaw
)
