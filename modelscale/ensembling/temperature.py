"""Temperature scaling of probabilities (Guo et al., arXiv:1706.04599)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_LOG = 4.0  # of the temperature, either way
_STEPS = 60
PRIOR_DEVIATION = 0.5
"""Deviation of a normal prior on the logarithm of the temperature: where every answer is right,
likelihood alone would make them all infinitely sure."""
SURE = 1.92
"""Gain in log-likelihood that chance reaches in 5 % of all cases: half of chi-squared's
quantile with one degree of freedom."""


@dataclass(frozen=True)
class Temperature:
    """What logits are divided by.

    Attributes:
        value: Above 1 for answers that are too sure of themselves.
        gain: Log-likelihood that it gains on the examples that it was fitted on, in nats.
    """

    value: float
    gain: float

    @property
    def is_sure(self) -> bool:
        """Whether it differs from 1 by more than chance."""
        return self.gain > SURE


def fit_temperature(logits_NC: Tensor, targets_N: Tensor) -> Temperature:
    """Return the most probable temperature, by bisection of the slope in its logarithm.

    Args:
        logits_NC: Or log-probabilities, of examples that the model has not learnt from.
        targets_N: (N,) class indices.
    """
    z_NC = logits_NC.double()
    true_N = z_NC.gather(1, targets_N[:, None])[:, 0]

    def slope(log_factor: float) -> float:
        factor = math.exp(log_factor)
        share_NC = (factor * z_NC).softmax(dim=1)
        of_loss = factor * float(((share_NC * z_NC).sum(dim=1) - true_N).sum())
        return of_loss + log_factor / PRIOR_DEVIATION**2

    def loss(factor: float) -> float:
        return float(((factor * z_NC).logsumexp(dim=1) - factor * true_N).sum())

    low, high = -_LARGEST_LOG, _LARGEST_LOG
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if slope(middle) > 0:
            high = middle
        else:
            low = middle
    factor = math.exp((low + high) / 2)
    return Temperature(1 / factor, max(0.0, loss(1.0) - loss(factor)))
