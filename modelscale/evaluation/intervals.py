"""How sure a measured metric is: intervals over the choice of test examples.

The model is taken as given and the examples as independent draws; what another training seed
would have changed is `student.mean_over_seeds`' matter. Methods and their measured coverage
are in `docs/metrics.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from modelscale.evaluation.student import t_quantile
from modelscale.seeds import derive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from modelscale.evaluation.metrics.base import MetricSpec

_CHUNK_NUMBERS = 2**22  # of resampled predictions held at once
_BOOTSTRAP_UP_TO = 10_000  # examples; beyond, a metric is as good as normally distributed
_GROUPS_FOR_ACCELERATION = 200
_GROUPS_FOR_SPREAD = 100
_LEAST_DEFINED = 0.9  # share of the resamples; below it there is no interval


@dataclass(frozen=True)
class Interval:
    """A measured value and where the true one may lie.

    Attributes:
        value: On the examples as they are; NaN where it is not defined.
        low: Lower bound; NaN where there is no interval.
        high: Upper bound; NaN where there is no interval.
        possible: The least and the greatest value that there can be.
    """

    value: float
    low: float
    high: float
    possible: tuple[float, float] = (-math.inf, math.inf)

    def to_json(self) -> dict[str, float | str | None]:
        """Return `{"value", "low", "high"}`; what is not finite is null, and named."""
        parts = {"value": self.value, "low": self.low, "high": self.high}
        json: dict[str, float | str | None] = {
            key: number if math.isfinite(number) else None for key, number in parts.items()
        }
        if not math.isfinite(self.value):
            json["nonfinite"] = str(self.value)
        return json


def bootstrap(
    metric: MetricSpec,
    predictions: Tensor,
    targets: Tensor,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the metric with an interval over the choice of examples.

    Args:
        metric: What is measured.
        predictions: (N, C) class probabilities, or (N, T) target values.
        targets: (N,) class indices, or (N, T) target values.
        resamples: Samples of N examples drawn with replacement.
        confidence: Nominal coverage.
        seed: Of the resamples.
    """
    return bootstrap_all((metric,), predictions, targets, resamples, confidence, seed)[0]


def bootstrap_all(
    metrics: Sequence[MetricSpec],
    predictions: Tensor,
    targets: Tensor,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Interval, ...]:
    """Return what `bootstrap` returns for each metric, all on the same resamples."""
    import torch

    resampled = [metric for metric in metrics if not metric.proportion]

    all_sums = [metric.sums(predictions, targets) for metric in resampled]

    def scores(rows: Tensor) -> Tensor:
        return torch.stack(
            [
                metric.compute(predictions[rows], targets[rows])
                if sums_NS is None
                else metric.of_sums(sums_NS[rows].sum(-2))
                for metric, sums_NS in zip(resampled, all_sums, strict=True)
            ]
        )

    drawn = [predictions if sums_NS is None else sums_NS for sums_NS in all_sums]
    like = max(drawn, key=lambda numbers: numbers.numel(), default=predictions)
    found = iter(_resampled(scores, like, resamples, confidence, seed) if resampled else ())
    return tuple(
        _within(
            metric.possible,
            _wilson(metric.compute(predictions, targets).item(), len(targets), confidence)
            if metric.proportion
            else next(found),
        )
        for metric in metrics
    )


def _within(possible: tuple[float, float], found: Interval) -> Interval:
    least, greatest = possible
    low, high = (
        bound if math.isnan(bound) else min(max(bound, least), greatest)
        for bound in (found.low, found.high)
    )
    return Interval(found.value, low, high, possible)


def paired_difference(
    metric: MetricSpec,
    predictions_a: Tensor,
    predictions_b: Tensor,
    targets: Tensor,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return metric(a) - metric(b) with an interval, both measured on the same examples.

    Arguments are as for `bootstrap`. What is hard for both models cancels out, so this tells
    apart models whose own intervals overlap.
    """
    import torch

    if (sums_a := metric.sums(predictions_a, targets)) is not None:
        sums_b = metric.sums(predictions_b, targets)
        assert sums_b is not None
        over_N2S = torch.stack([sums_a, sums_b], 1)

        def of_sums(rows: Tensor) -> Tensor:
            a, b = metric.of_sums(over_N2S[rows].sum(-3)).unbind(-1)
            return (a - b).unsqueeze(0)

        return _resampled(of_sums, over_N2S, resamples, confidence, seed)[0]

    def difference(drawn_a: Tensor, drawn_b: Tensor, true: Tensor) -> Tensor:
        return metric.compute(drawn_a, true) - metric.compute(drawn_b, true)

    # One model asked in two ways, alone and in a batch of many, differs by rounding.
    if torch.allclose(predictions_a, predictions_b, rtol=1e-6, atol=1e-9):
        same = difference(predictions_a, predictions_b, targets).item()
        return Interval(same, same, same)
    if metric.proportion:
        right_a_N, right_b_N = (
            metric.compute(p.unsqueeze(-2), targets.unsqueeze(-1))
            for p in (predictions_a, predictions_b)
        )
        return _bonett_price(right_a_N, right_b_N, confidence)

    def scores(rows: Tensor) -> Tensor:
        drawn = difference(predictions_a[rows], predictions_b[rows], targets[rows])
        return drawn.unsqueeze(0)

    both = torch.stack((predictions_a, predictions_b), 1)
    return _resampled(scores, both, resamples, confidence, seed)[0]


def paired_difference_from_mean(
    metrics: Sequence[MetricSpec],
    predictions: Tensor,
    others_K: Tensor,
    targets: Tensor,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Interval, ...]:
    """Return each metric less its mean over other models, all on the same examples.

    Args:
        metrics: What is measured.
        predictions: (N, C) class probabilities, or (N, T) target values.
        others_K: The same of K other models, (K, N, …).
        targets: (N,) class indices, or (N, T) target values.
        resamples: Samples of N examples drawn with replacement.
        confidence: Nominal coverage.
        seed: Of the resamples.
    """
    import torch

    def scores(rows: Tensor) -> Tensor:
        true = targets[rows]
        own, others = predictions[rows], others_K[:, rows]
        found = [m.compute(own, true) - m.compute(others, true).mean(0) for m in metrics]
        return torch.stack(found)

    both = torch.cat([predictions[:, None], others_K.transpose(0, 1)], dim=1)
    return tuple(_resampled(scores, both, resamples, confidence, seed))


def _resampled(
    scores: Callable[[Tensor], Tensor],
    like: Tensor,
    resamples: int,
    confidence: float,
    seed: int,
) -> list[Interval]:
    """Return the intervals of several metrics: bootstrap, or jackknife for many examples.

    Args:
        scores: Takes rows (R, n) to the metrics (M, R).
        like: (N, …) as large as what `scores` gathers of N rows.
        resamples: How many samples the bootstrap draws.
        confidence: Nominal coverage.
        seed: Of the resamples.
    """
    import torch

    N = len(like)
    everything = torch.arange(N, device=like.device).unsqueeze(0)
    values = scores(everything).squeeze(-1).tolist()
    if N < 2:
        return [Interval(value, math.nan, math.nan) for value in values]
    chunk = max(1, _CHUNK_NUMBERS // max(1, like.numel()))

    def gathered(rows: Iterator[Tensor]) -> Tensor:
        return torch.cat([scores(part.to(like.device)).cpu() for part in rows], -1)

    tail = (1 + confidence) / 2
    if N > _BOOTSTRAP_UP_TO:
        reach = t_quantile(tail, _GROUPS_FOR_SPREAD - 1)
        without_MG = gathered(_leaving_out(N, _GROUPS_FOR_SPREAD, chunk, seed))
        return [_jackknife(*pair, reach) for pair in zip(values, without_MG, strict=True)]
    reach = math.sqrt(N / (N - 1)) * t_quantile(tail, N - 1)
    drawn_MR = gathered(_resamples(N, resamples, chunk, seed))
    groups = min(N, _GROUPS_FOR_ACCELERATION)
    without_MG = gathered(_leaving_out(N, groups, chunk, seed))
    return [_bca(*row, reach) for row in zip(values, drawn_MR, without_MG, strict=True)]


def _resamples(N: int, resamples: int, chunk: int, seed: int) -> Iterator[Tensor]:
    """Yield rows (≤ chunk, N), drawn with replacement; the same ones whatever the chunk."""
    import torch

    generator = torch.Generator().manual_seed(derive(seed, "bootstrap"))
    for start in range(0, resamples, chunk):
        shape = (min(chunk, resamples - start), N)
        yield torch.randint(N, shape, generator=generator)


def _leaving_out(N: int, groups: int, chunk: int, seed: int) -> Iterator[Tensor]:
    """Yield rows (≤ chunk, N - N // groups): all but one of the groups, drawn at random."""
    import torch

    size = N // groups
    generator = torch.Generator().manual_seed(derive(seed, "jackknife"))
    order = torch.randperm(N, generator=generator)
    place = torch.arange(N - size)
    for start in range(0, groups, chunk):
        gap = torch.arange(start, min(start + chunk, groups)).unsqueeze(-1) * size
        yield order[place + size * (place >= gap)]


def _jackknife(value: float, without_G: Tensor, reach: float) -> Interval:
    """Return the interval of one metric from its value without each of the groups."""
    G = len(without_G)
    squares = (without_G - without_G.mean()).square().sum().item()
    if not squares > 0:  # no spread, or a group without which the metric is not defined
        return Interval(value, math.nan, math.nan)
    error = math.sqrt((G - 1) / G * squares)
    return Interval(value, value - reach * error, value + reach * error)


def _bca(value: float, drawn_R: Tensor, without_G: Tensor, reach: float) -> Interval:
    """Return the bias-corrected and accelerated bootstrap interval of one metric.

    Quantile levels are those of Efron (J. Am. Stat. Assoc. 82, 1987), with the reach of
    Student's t that small samples need (Hesterberg, arXiv:1411.5279, "expanded percentile").
    There is none where resampling says nothing of the spread.

    Args:
        value: On all examples.
        drawn_R: On each resample.
        without_G: Without each group of examples.
        reach: Standard errors from the middle to either bound, for a normal metric.
    """
    import torch

    defined = drawn_R[~drawn_R.isnan()]
    few = len(defined) < _LEAST_DEFINED * len(drawn_R)
    if math.isnan(value) or few or bool((defined == defined[0]).all()):
        return Interval(value, math.nan, math.nan)
    normal = NormalDist()
    below = ((defined < value).double() + 0.5 * (defined == value).double()).mean().item()
    half_a_draw = 0.5 / len(defined)
    bias = normal.inv_cdf(min(max(below, half_a_draw), 1 - half_a_draw))
    pull_G = without_G.nanmean() - without_G
    cubes, squares = pull_G.pow(3).nansum().item(), pull_G.square().nansum().item()
    acceleration = cubes / (6 * squares**1.5) if squares > 0 else 0.0

    def level(z: float) -> float:
        moved = bias + z
        slack = 1 - acceleration * moved
        return normal.cdf(bias + moved / slack) if slack > 0 else float(z > 0)

    levels = torch.tensor([level(-reach), level(reach)], dtype=defined.dtype)
    low, high = defined.quantile(levels).tolist()
    return Interval(value, low, high)


def _wilson(share: float, n: int, confidence: float) -> Interval:
    """Return the score interval of a share of n examples (Wilson, J. Am. Stat. Assoc. 22)."""
    if math.isnan(share):
        return Interval(share, math.nan, math.nan)
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # Rounding must not put the measured share outside.
    return Interval(share, min(share, middle - reach), max(share, middle + reach))


def _bonett_price(right_a_N: Tensor, right_b_N: Tensor, confidence: float) -> Interval:
    """Return the interval of a difference of paired shares.

    A Wald interval with one more example of either disagreement (Bonett & Price, J. Educ.
    Behav. Stat. 37, 2012). Right answers are 1 and wrong ones 0, (N,).
    """
    n = len(right_a_N)
    difference_N = right_a_N - right_b_N
    value = difference_N.mean().item()
    if math.isnan(value):
        return Interval(value, math.nan, math.nan)
    only_a = ((difference_N > 0).sum().item() + 1) / (n + 2)
    only_b = ((difference_N < 0).sum().item() + 1) / (n + 2)
    middle = only_a - only_b
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    reach = z * math.sqrt((only_a + only_b - middle**2) / (n + 2))
    low, high = max(-1.0, middle - reach), min(1.0, middle + reach)
    return Interval(value, min(value, low), max(value, high))
