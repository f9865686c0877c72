"""Dropout whose rate and random numbers belong to the replica."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modelscale.models.modules.noise import uniform


class Dropout(nn.Module):
    """Zeroes each value with probability `rate` in training and scales the others up.

    (Srivastava et al., JMLR 15, 2014.) The rate is a buffer, so replicas of one cohort may
    differ in it; the random numbers come from the tape in use (see `noise.py`).
    """

    rate: Tensor

    def __init__(self, rate: float) -> None:
        """Make a layer that drops with probability `rate`, in (0, 1)."""
        super().__init__()
        self.register_buffer("rate", torch.tensor(rate, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Return x, of any shape, with values dropped in training."""
        if not self.training:
            return x
        # By rounding down: a comparison's answers are turned into numbers six times slower.
        kept = (uniform(x.shape, x) - self.rate).add_(1).floor_() / (1 - self.rate)
        return x * kept.to(x.dtype)
