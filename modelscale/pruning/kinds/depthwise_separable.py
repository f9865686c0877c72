"""Convolutions as a depthwise and a pointwise one."""

from __future__ import annotations

from pydantic import Field

from modelscale.pruning.kinds._retrained import Retrained


class DepthwiseSeparable(Retrained):
    """Replaces convolutions by a filter for each channel and a 1×1 convolution.

    (Howard et al., arXiv:1704.04861.) They begin as the nearest ones to the dense kernels: the
    first singular vectors of each input channel's kernels.
    """

    least_channels: int = Field(4, ge=2)
    """Convolutions that read fewer channels are left as they are, such as a first layer."""
