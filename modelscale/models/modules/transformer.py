"""A transformer that answers from one extra token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from modelscale.models.modules.attention import SelfAttention
from modelscale.models.modules.dropout import Dropout


class Block(nn.Module):
    """Attention, then a ReLU layer at each position; each normalises its input and adds."""

    def __init__(self, width: int, heads: int, dropout: float, norm_first: bool) -> None:
        """Make a block; `norm_first` tells whether attention sees normalised tokens."""
        super().__init__()
        drop = [Dropout(dropout)] if dropout > 0 else []
        norm = [nn.LayerNorm(width)] if norm_first else []
        self.attention = nn.Sequential(*norm, SelfAttention(width, heads), *drop)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            *([Dropout(dropout)] if dropout > 0 else []),
            nn.Linear(2 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, positions, width) of x of the same shape."""
        x = x + self.attention(x)
        out: Tensor = x + self.feed_forward(x)
        return out


class Transformer(nn.Module):
    """Tokens, blocks, and an answer read from a token of its own."""

    drawn: ClassVar[Mapping[str, float]] = {"answer": -0.5}
    """It begins smaller the wider it is, as the other tokens do (see `widths.py`)."""

    def __init__(
        self, tokens: nn.Module, width: int, blocks: list[nn.Module], outputs: int
    ) -> None:
        """Make a network of `tokens`, which maps x to (batch, positions, width)."""
        super().__init__()
        self.tokens = tokens
        self.answer = nn.Parameter(torch.empty(width).uniform_(-(width**-0.5), width**-0.5))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs) of x: (batch, …)."""
        tokens = self.tokens(x)
        answer = self.answer.expand(tokens.shape[0], 1, -1)
        seen = self.blocks(torch.cat([answer, tokens], 1))
        out: Tensor = self.head(seen[:, 0])
        return out
