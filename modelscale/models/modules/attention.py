"""Multi-head attention, written out: the fused kernels have no rule for `vmap`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Attention of positions to each other (Vaswani et al., arXiv:1706.03762).

    The size of a head is read from the weights, since heads may be cut; the scale of the scores
    stays what the heads were made with. Keys have no bias, which softmax would cancel and whose
    gradient would be rounding noise; that of the values is part of the output's.
    """

    def __init__(self, width: int, heads: int, query_bias: bool = False) -> None:
        """Make `heads` heads of width / heads each."""
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.query = nn.Parameter(torch.zeros(heads, 1, width // heads)) if query_bias else None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return (batch, positions, width) of x of the same shape.

        Args:
            x: Tokens.
            mask: Added to the scores, broadcasts over (batch, heads, positions, positions).
        """
        batch, positions, _ = x.shape
        qkv = self.qkv(x).view(batch, positions, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (batch, heads, positions, size)
        if self.query is not None:
            q = q + self.query
        out: Tensor = self.out(mixed(q * self.scale, k, v, mask))
        return out


class CrossAttention(nn.Module):
    """Attention of what is written to what was read; see `SelfAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        """Make `heads` heads of width / heads each."""
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, T, width) of x: (batch, T, width).

        Args:
            x: What is written.
            memory: (batch, S, width) of what was read.
            mask: Added to the scores, broadcasts over (batch, heads, T, S).
        """
        batch, written, _ = x.shape
        q = self.q(x).view(batch, written, self.heads, -1).transpose(1, 2)
        kv = self.kv(memory).view(batch, memory.shape[1], 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)  # (batch, heads, S, size)
        out: Tensor = self.out(mixed(q * self.scale, k, v, mask))
        return out


def mixed(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Return (batch, T, heads · size), the values by the softmax of the scores.

    Args:
        q: (batch, heads, T, size), scaled.
        k: (batch, heads, S, size).
        v: The same shape.
        mask: Added to the scores, broadcasts over (batch, heads, T, S).
    """
    scores = q @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores + mask
    found = scores.softmax(-1) @ v
    return found.transpose(1, 2).reshape(q.shape[0], q.shape[2], -1)
