"""Parts of encoders that normalise after each addition, and their weights as published."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modelscale.models.modules.attention import SelfAttention
from modelscale.models.modules.dropout import Dropout
from modelscale.models.modules.text import SymbolBody

EPS = 1e-12


class PostNormBlock(nn.Module):
    """Attention, then a GELU layer at each position; each adds, and the sum is normalised."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """Make a block whose feed-forward layer has 4 · width units."""
        super().__init__()
        self.attention = SelfAttention(width, heads, query_bias=True)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.norm = nn.LayerNorm(width, EPS)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            *([Dropout(dropout)] if dropout > 0 else []),
        )
        self.last_norm = nn.LayerNorm(width, EPS)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, positions, width) of x of the same shape."""
        x = self.norm(x + self.drop(self.attention(x, mask)))
        out: Tensor = self.last_norm(x + self.feed_forward(x))
        return out


class BertBody(SymbolBody):
    """Vectors of symbols and of their positions, normalised, then blocks."""

    def __init__(
        self, sizes: tuple[int, int], width: int, blocks: int, heads: int, dropout: float
    ) -> None:
        """Make it for `sizes`: symbols of the vocabulary, and positions."""
        super().__init__()
        vocabulary, positions = sizes
        self.table = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(positions, width))
        self.norm = nn.LayerNorm(width, EPS)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.blocks = nn.ModuleList(PostNormBlock(width, heads, dropout) for _ in range(blocks))
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, positions, width) of x: (batch, positions), symbols as floats."""
        seen: Tensor = self.drop(self.norm(self.table(x.long()) + self.positions))
        for block in self.blocks:
            seen = block(seen, mask)
        return seen


def from_published(
    tensors: Mapping[str, Tensor], unknown: int, heads: int
) -> dict[str, Tensor]:
    """Return the weights of a `TextEncoder` with a `BertBody`, but for its head.

    Args:
        tensors: By the names that the library `transformers` gives them.
        unknown: Number of the unknown symbol in their vocabulary.
        heads: Attention heads.
    """
    words = tensors["embeddings.word_embeddings.weight"]
    kinds = tensors["embeddings.token_type_embeddings.weight"]  # all are of the first
    made = {
        # Two symbols come before those of the library: padding, and whatever is not known.
        "table.weight": torch.cat([words[:1], words[unknown : unknown + 1], words]),
        "positions": tensors["embeddings.position_embeddings.weight"] + kinds[0],
        "norm.weight": tensors["embeddings.LayerNorm.weight"],
        "norm.bias": tensors["embeddings.LayerNorm.bias"],
    }
    number = 0
    while f"encoder.layer.{number}.intermediate.dense.weight" in tensors:
        old, new = f"encoder.layer.{number}.", f"blocks.{number}."
        attention = f"{old}attention.self."
        names = ("query", "key", "value")
        qkv = [tensors[f"{attention}{name}.weight"] for name in names]
        out = tensors[f"{old}attention.output.dense.weight"]
        bias = tensors[f"{old}attention.output.dense.bias"]
        made |= {
            f"{new}attention.qkv.weight": torch.cat(qkv),
            f"{new}attention.query": tensors[f"{attention}query.bias"].view(heads, 1, -1),
            f"{new}attention.out.weight": out,
            f"{new}attention.out.bias": bias + out @ tensors[f"{attention}value.bias"],
        }
        for ours, theirs in (
            ("norm", "attention.output.LayerNorm"),
            ("feed_forward.0", "intermediate.dense"),
            ("feed_forward.2", "output.dense"),
            ("last_norm", "output.LayerNorm"),
        ):
            for part in ("weight", "bias"):
                made[f"{new}{ours}.{part}"] = tensors[f"{old}{theirs}.{part}"]
        number += 1
    return {f"body.{name}": tensor.contiguous() for name, tensor in made.items()}
