"""Parts of networks that read recordings by attention and convolution in turn."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelscale.models.modules.attention import SelfAttention
from modelscale.models.modules.dropout import Dropout
from modelscale.models.modules.speech import blank_behind, held_frames
from modelscale.models.modules.text import HIDDEN

FARTHEST = 32
"""Frames from which on distances count as one."""


def feed_forward(width: int, dropout: float) -> nn.Sequential:
    """Return a layer of 4 · width units at each frame, which normalises its input."""
    drop = [Dropout(dropout)] if dropout > 0 else []
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 4 * width),
        nn.SiLU(),
        nn.Linear(4 * width, width),
        *drop,
    )


class FrameConvolution(nn.Module):
    """A gate, a depthwise convolution over time and a layer at each frame."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        """Make it for frames of `width`; `kernel` is odd."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.scale = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()

    def forward(self, x: Tensor, held_BT1: Tensor) -> Tensor:
        """Return (batch, frames, width) of x of the same shape."""
        value, gate = self.gate(self.norm(x)).chunk(2, dim=-1)
        # What lies behind the end must not reach into the recording.
        seen = (value * gate.sigmoid() * held_BT1).transpose(1, 2)
        mixed = self.scale(self.depthwise(seen).transpose(1, 2))
        out: Tensor = self.drop(self.out(F.silu(mixed)))
        return out


class ConformerBlock(nn.Module):
    """Half a layer, attention, convolution, half a layer; each adds to what came in."""

    def __init__(self, width: int, heads: int, kernel: int, dropout: float) -> None:
        """Make a block."""
        super().__init__()
        self.first = feed_forward(width, dropout)
        self.norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.convolution = FrameConvolution(width, kernel, dropout)
        self.last = feed_forward(width, dropout)
        self.end = nn.LayerNorm(width)
        self.by_distance = nn.Parameter(torch.zeros(heads, 2 * FARTHEST + 1))

    def forward(self, x: Tensor, held_BT1: Tensor) -> Tensor:
        """Return (batch, frames, width) of x of the same shape."""
        x = x + 0.5 * self.first(x)
        place = torch.arange(x.shape[1], device=x.device)
        distance = (place[None, :] - place[:, None]).clamp(-FARTHEST, FARTHEST) + FARTHEST
        hidden = (1 - held_BT1.transpose(1, 2).unsqueeze(1)) * HIDDEN
        scores = self.by_distance[:, distance].unsqueeze(0) + hidden
        x = x + self.drop(self.attention(self.norm(x), scores))
        x = x + self.convolution(x, held_BT1)
        out: Tensor = self.end(x + 0.5 * self.last(x))
        return out


class ConformerWriter(nn.Module):
    """Scores of all symbols for every second frame."""

    def __init__(self, first: nn.Conv1d, blocks: list[nn.Module], outputs: int) -> None:
        """Make a network of `first`, which halves time, and blocks of its width."""
        super().__init__()
        self.first = first
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(first.out_channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, ceil(T / 2), outputs) of x: (batch, channels, bands, T)."""
        held_BT1 = held_frames(x)[..., ::2].flatten(1).unsqueeze(-1)
        seen = F.silu(self.first(x.flatten(1, 2))).transpose(1, 2) * held_BT1
        for block in self.blocks:
            seen = block(seen, held_BT1)
        return blank_behind(self.head(seen), held_BT1)
