"""Batch normalisation that can also meet a batch of one value a channel.

The last batch of an epoch may hold a single example. It has no variance, so torch refuses it;
here it is normalised by the running statistics, as when predicting, and leaves them alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm1d(nn.BatchNorm1d):
    """Normalises each unit over the batch."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, units) of an input of the same shape."""
        if self.training and input.shape[0] == 1:
            return _by_running_statistics(self, input)
        return super().forward(_in_fp32(input))


class BatchNorm2d(nn.BatchNorm2d):
    """Normalises each channel over the batch and the map."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, channels, height, width) of an input of the same shape."""
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return _by_running_statistics(self, input)
        return super().forward(_in_fp32(input))


def batch_norm_without_shift(channels: int) -> BatchNorm2d:
    """Return a batch norm that scales but does not shift.

    For maps that only linear layers with a batch norm of their own read: these would remove
    the shift, and its gradient would be rounding noise.
    """
    norm = BatchNorm2d(channels)
    norm.register_parameter("bias", None)
    return norm


def _by_running_statistics(norm: BatchNorm1d | BatchNorm2d, x: Tensor) -> Tensor:
    x = _in_fp32(x)
    return F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )


def _in_fp32(x: Tensor) -> Tensor:
    """Return x in the precision of the statistics; under `vmap` torch mixes none."""
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x
