"""Convolutions that keep the map's size, up to the stride."""

from __future__ import annotations

from torch import nn


def convolution(
    channels: tuple[int, int], kernel: int, *, stride: int = 1, separable: bool, bias: bool
) -> list[nn.Module]:
    """Return a convolution, or a depthwise and a pointwise one in its place.

    Args:
        channels: Of the input and of the output.
        kernel: Side of the kernel in pixels, odd.
        stride: Pixels between two outputs.
        separable: Whether to use depthwise-separable convolution (Howard et al.,
            arXiv:1704.04861): about kernel² times less arithmetic.
        bias: Whether outputs have a bias; leave it out before a norm, which removes it.
    """
    c_in, c_out = channels
    pad = kernel // 2
    if not separable:
        return [nn.Conv2d(c_in, c_out, kernel, stride, pad, bias=bias)]
    return [
        nn.Conv2d(c_in, c_in, kernel, stride, pad, groups=c_in, bias=False),
        nn.Conv2d(c_in, c_out, 1, bias=bias),
    ]
