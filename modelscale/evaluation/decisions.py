"""Decisions from probabilities of two classes: calibration, and the threshold that costs least.

Both are learnt on examples that the model was not trained on, such as the validation part.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from modelscale.evaluation.intervals import Interval
from modelscale.evaluation.student import t_quantile

if TYPE_CHECKING:
    from torch import Tensor

_STEPS = 100
_SMALLEST = 1e-12


class Platt(NamedTuple):
    """Calibrated log-odds are slope · log-odds + intercept (Platt, 1999)."""

    slope: float
    intercept: float

    def apply(self, probability_N: Tensor) -> Tensor:
        """Return (N,) float64, the calibrated probability of the second class."""
        return (self.slope * _log_odds(probability_N) + self.intercept).sigmoid()


def fit_platt(probability_N: Tensor, targets_N: Tensor) -> Platt:
    """Return the calibration that is most likely for these examples, by Newton's method.

    The two targets are drawn in by one example of either class, as Platt does, so that classes
    which the model parts completely do not make the slope infinite.

    Args:
        probability_N: (N,) probability of the second class.
        targets_N: (N,) 0 or 1.
    """
    import torch

    odds_N = _log_odds(probability_N)
    ones = targets_N.sum().item()
    zeros = len(targets_N) - ones
    wanted_N = torch.where(targets_N == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2)).double()
    x_N2 = torch.stack([odds_N, torch.ones_like(odds_N)], dim=1)
    weights_2 = torch.tensor([1.0, 0.0], dtype=torch.float64)
    loss = _nats(x_N2 @ weights_2, wanted_N)
    for _ in range(_STEPS):
        p_N = (x_N2 @ weights_2).sigmoid()
        gradient_2 = x_N2.T @ (p_N - wanted_N)
        curvature_22 = x_N2.T @ (x_N2 * (p_N * (1 - p_N))[:, None])
        curvature_22 += 1e-9 * torch.eye(2, dtype=torch.float64)
        step_2 = torch.linalg.solve(curvature_22, gradient_2)
        size = 1.0
        while _nats(x_N2 @ (weights_2 - size * step_2), wanted_N) > loss and size > _SMALLEST:
            size /= 2
        weights_2 = weights_2 - size * step_2
        before, loss = loss, _nats(x_N2 @ weights_2, wanted_N)
        if before - loss <= 1e-12 * abs(before):
            break
    return Platt(*weights_2.tolist())


def threshold_of(cost_CC: Tensor) -> float:
    """Return the probability of the second class from which on deciding for it is cheaper.

    That of calibrated probabilities (Elkan, IJCAI 2001).
    """
    alarm = (cost_CC[0, 1] - cost_CC[0, 0]).item()
    miss = (cost_CC[1, 0] - cost_CC[1, 1]).item()
    return alarm / (alarm + miss)


def cheapest_threshold(probability_N: Tensor, targets_N: Tensor, cost_CC: Tensor) -> float:
    """Return the threshold whose decisions cost least on these examples.

    Thresholds stand midway between neighbouring probabilities; of several equally cheap ones
    it is the nearest to what the costs alone ask for.

    Args:
        probability_N: (N,) probability of the second class.
        targets_N: (N,) 0 or 1.
        cost_CC: (2, 2) costs by true and decided class.
    """
    import torch

    ordered_N, order_N = probability_N.double().sort()
    true_N = targets_N[order_N]
    # Of the first n examples in order all are decided as the first class, the others not.
    as_first_N = cost_CC[true_N, 0].double().cumsum(0)
    as_second_N = cost_CC[true_N, 1].double()
    rest_N = as_second_N.sum() - as_second_N.cumsum(0)
    zero = torch.zeros(1, dtype=torch.float64)
    cost_M = torch.cat([zero, as_first_N]) + torch.cat([as_second_N.sum()[None], rest_N])
    ends_M = torch.cat([zero, ordered_N, zero + 1])
    middle_M = (ends_M[1:] + ends_M[:-1]) / 2
    between = torch.ones(len(cost_M), dtype=torch.bool)
    between[:-1] = ordered_N != ends_M[:-2]  # equal ones can't be parted, nor 0 from below
    least = cost_M[between].min()
    good_M = middle_M[between & (cost_M <= least + 1e-9)]
    return good_M[(good_M - threshold_of(cost_CC)).abs().argmin()].item()


def mean_with_interval(value_N: Tensor, confidence: float) -> Interval:
    """Return the mean of independent values with its interval by Student's t."""
    count = len(value_N)
    if count == 0:
        return Interval(math.nan, math.nan, math.nan)
    mean = value_N.double().mean().item()
    if count < 2:
        return Interval(mean, math.nan, math.nan)
    error = value_N.double().std().item() / math.sqrt(count)
    reach = t_quantile((1 + confidence) / 2, count - 1) * error
    return Interval(mean, mean - reach, mean + reach)


def _log_odds(probability_N: Tensor) -> Tensor:
    return probability_N.double().clamp(_SMALLEST, 1 - _SMALLEST).logit()


def _nats(odds_N: Tensor, wanted_N: Tensor) -> float:
    from torch.nn import functional as F

    return F.binary_cross_entropy_with_logits(odds_N, wanted_N, reduction="sum").item()
