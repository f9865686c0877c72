"""Parts of networks that read symbols; symbol 0 is padding and counts for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelscale.models.modules.attention import SelfAttention
from modelscale.models.modules.dropout import Dropout

EMPTY = 1e-6  # keeps a text without symbols from dividing by 0
HIDDEN = -1e9  # score of what attention must not see; finite, for texts of padding alone


def filled(x: Tensor) -> Tensor:
    """Return (batch, positions, 1), 1 where there is a symbol and 0 where padding is."""
    return (x > 0).float().unsqueeze(-1)


def mean_of_filled(values: Tensor, filled_BT1: Tensor) -> Tensor:
    """Return (batch, width), the mean over the positions that hold a symbol."""
    total = (values * filled_BT1).sum(1)
    return total / (filled_BT1.sum(1) + EMPTY)


class WeightedAverage(nn.Module):
    """The mean of the symbols' vectors, each by a learnt weight of its symbol.

    A weight is exp of one number a symbol, 1 at first; so frequent words that say nothing can
    be passed over, as TF-IDF does by counting.
    """

    def __init__(self, vocabulary: int, width: int, std: float, weighted: bool) -> None:
        """Make vectors of `width` from a normal distribution of deviation `std`."""
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.table.weight, std=std)
        self.weighted = weighted
        if weighted:
            self.weight = nn.Embedding(vocabulary, 1)
            nn.init.zeros_(self.weight.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, width) of x: (batch, positions), symbols as floats."""
        symbols, share = x.long(), filled(x)
        if self.weighted:
            share = share * self.weight(symbols).exp()
        return mean_of_filled(self.table(symbols), share)


class Windows(nn.Module):
    """The strongest answer of each filter anywhere in a text (Kim, arXiv:1408.5882)."""

    def __init__(
        self, vocabulary: int, width: int, kernels: tuple[int, ...], filters: int
    ) -> None:
        """Make `filters` filters for each of the widths `kernels`, in symbols."""
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.table.weight, std=0.1)
        self.filters = nn.ModuleList(
            nn.Conv1d(width, filters, kernel, padding=kernel // 2) for kernel in kernels
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, filters · kernels) of x: (batch, positions), symbols as floats."""
        vectors = (self.table(x.long()) * filled(x)).transpose(1, 2)
        return torch.cat([F.relu(f(vectors)).amax(-1) for f in self.filters], dim=1)


class TextBlock(nn.Module):
    """Attention, then a GELU layer at each position; each normalises its input and adds."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """Make a pre-norm block whose feed-forward layer has 4 · width units."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            *([Dropout(dropout)] if dropout > 0 else []),
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, positions, width) of x of the same shape."""
        x = x + self.drop(self.attention(self.norm(x), mask))
        out: Tensor = x + self.feed_forward(x)
        return out


class SymbolBody(nn.Module):
    """Base of what maps symbols (batch, positions) and a mask to (batch, positions, width)."""

    table: nn.Embedding
    """Vectors of the symbols."""


class SymbolsInOrder(SymbolBody):
    """Vectors of symbols plus learnt vectors of their positions, then blocks and a norm."""

    drawn: ClassVar[Mapping[str, float]] = {"positions": 0.0, "blocks.*": 0.0}
    """Everything begins with one deviation, however wide (see `widths.py`)."""

    def __init__(
        self, sizes: tuple[int, int], width: int, blocks: int, heads: int, dropout: float
    ) -> None:
        """Make it for `sizes`: symbols of the vocabulary, and positions."""
        super().__init__()
        vocabulary, positions = sizes
        self.table = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(positions, width))
        nn.init.normal_(self.table.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.02)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.blocks = nn.ModuleList(TextBlock(width, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        for name, weight in self.blocks.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif name.endswith(("qkv.weight", "out.weight", "1.weight", "3.weight")):
                # What each block adds begins small (Radford et al., GPT-2, 2019).
                last = name.endswith(("out.weight", "3.weight"))
                nn.init.normal_(weight, std=0.02 * ((2 * blocks) ** -0.5 if last else 1.0))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, positions, width) of x: (batch, positions), symbols as floats."""
        seen: Tensor = self.drop(self.table(x.long()) + self.positions[: x.shape[1]])
        for block in self.blocks:
            seen = block(seen, mask)
        out: Tensor = self.norm(seen)
        return out


class TextEncoder(nn.Module):
    """Every position sees all symbols of its text; the answer is read from their mean."""

    def __init__(self, body: SymbolBody, width: int, outputs: int) -> None:
        """Make a network of `body`, whose tokens have `width`."""
        super().__init__()
        self.body = body
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs) of x: (batch, positions), symbols as floats."""
        out: Tensor = self.head(mean_of_filled(self._seen(x), filled(x)))
        return out

    def symbol_scores(self, x: Tensor, places: Tensor) -> Tensor:
        """Return scores (batch, M, vocabulary) of what stands at places: (batch, M) of x."""
        seen = self._seen(x)
        chosen = seen.gather(1, places.unsqueeze(-1).expand(-1, -1, seen.shape[2]))
        return chosen @ self.body.table.weight.t()

    def _seen(self, x: Tensor) -> Tensor:
        mask = (filled(x).transpose(1, 2).unsqueeze(1) - 1) * -HIDDEN
        out: Tensor = self.body(x, mask)
        return out


class TextDecoder(nn.Module):
    """Predicts each next symbol from those before it, and gives the surprise at what came.

    It answers with nats rather than with the logits of all symbols, which would be larger by
    the size of the vocabulary.
    """

    norm_before: ClassVar[str] = "body.norm"
    """What the table of symbols scores (see `widths.py`)."""

    def __init__(self, body: SymbolsInOrder, scored: int) -> None:
        """Make a network of `body` that answers for the last `scored` symbols of a window."""
        super().__init__()
        self.body = body
        self.scored = scored

    def logits(self, x: Tensor) -> Tensor:
        """Return (batch, positions, vocabulary) for what follows each position of x."""
        positions = x.shape[1]
        place = torch.arange(positions, device=x.device)
        mask = (place[None, :] > place[:, None]).float() * HIDDEN
        # The table that reads symbols also scores them (Press & Wolf, arXiv:1608.05859).
        out: Tensor = self.body(x, mask) @ self.body.table.weight.t()
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return nats (batch, scored) of x: (batch, positions + 1), symbols as floats."""
        after = x[:, 1:].long().unsqueeze(-1)
        nats = -self.logits(x[:, :-1]).log_softmax(-1).gather(-1, after).squeeze(-1)
        return nats[:, nats.shape[1] - self.scored :]
