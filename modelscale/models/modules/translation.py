"""Parts of networks that read one text and write another; symbol 0 is padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelscale.models.modules.attention import CrossAttention
from modelscale.models.modules.dropout import Dropout
from modelscale.models.modules.text import HIDDEN, SymbolsInOrder, TextBlock, filled

_ROWS_AT_ONCE = 256  # when measured: the scores of all symbols take much memory


class WritingBlock(nn.Module):
    """A block that looks at what was read before the block of what is written."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """Make a pre-norm block."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.reading = CrossAttention(width, heads)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.writing = TextBlock(width, heads, dropout)

    def forward(self, x: Tensor, causal: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, T, width) of x of the same shape."""
        x = x + self.drop(self.reading(self.norm(x), memory, mask))
        out: Tensor = self.writing(x, causal)
        return out


class Decoder(nn.Module):
    """Scores each next symbol from those before it and from what was read.

    The table that reads symbols also scores them (Press & Wolf, arXiv:1608.05859). The padding
    symbol stands for the beginning.
    """

    def __init__(
        self, sizes: tuple[int, int], width: int, blocks: int, heads: int, dropout: float
    ) -> None:
        """Make it for `sizes`: symbols of the vocabulary, and positions."""
        super().__init__()
        vocabulary, positions = sizes
        self.table = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(positions, width))
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.blocks = nn.ModuleList(WritingBlock(width, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.table.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.02)
        for name, weight in self.blocks.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)

    def forward(self, written: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Return logits (batch, T, vocabulary) of what stands at each place.

        Args:
            written: (batch, T) int64 symbols; of each place, those before it are looked at.
            memory: (batch, S, width) of what was read.
            mask: (batch, 1, 1, S), added to the scores of what was read.
        """
        length = written.shape[1]
        before = F.pad(written[:, :-1], (1, 0))
        place = torch.arange(length, device=written.device)
        causal = (place[None, :] > place[:, None]).float() * HIDDEN
        seen = self.drop(self.table(before) + self.positions[:length])
        for block in self.blocks:
            seen = block(seen, causal, memory, mask)
        out: Tensor = self.norm(seen) @ self.table.weight.t()
        return out


class Translator(nn.Module):
    """Reads a text and is asked for each symbol of its translation, knowing those before.

    It answers with three numbers a symbol rather than with the logits of all symbols, which
    would be larger by the size of the vocabulary.
    """

    def __init__(self, encoder: SymbolsInOrder, decoder: Decoder) -> None:
        """Make a network that writes as many symbols as the decoder has positions."""
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def read(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return memory and mask, as the decoder takes them, of source: (batch, S)."""
        mask = (filled(source).transpose(1, 2).unsqueeze(1) - 1) * -HIDDEN
        return self.encoder(source, mask), mask

    def logits(self, x: Tensor) -> Tensor:
        """Return (batch, T, vocabulary) of x: (batch, S + T), symbols as floats."""
        positions = self.decoder.positions.shape[0]
        out: Tensor = self.decoder(x[:, -positions:].long(), *self.read(x[:, :-positions]))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, T, 3) of x: (batch, S + T), symbols as floats.

        Of each symbol of the translation: its nats, the mean nats over all symbols, and
        whether it has the largest score. All are 0 at padding.
        """
        exporting = torch.compiler.is_exporting()  # a graph serves any number of rows
        if not (self.training or exporting) and len(x) > _ROWS_AT_ONCE:
            return torch.cat([self(some) for some in x.split(_ROWS_AT_ONCE)])
        return forced(self.logits(x), x)


def forced(logits: Tensor, x: Tensor) -> Tensor:
    """Return (batch, T, 3), what a translator tells of the symbols of a true translation.

    Args:
        logits: (batch, T, vocabulary).
        x: (batch, S + T), the symbols behind them.
    """
    target = x[:, -logits.shape[1] :].long()
    nats = -logits.float().log_softmax(-1)
    own = nats.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    right = (logits.argmax(-1) == target).float()
    return torch.stack([own, nats.mean(-1), right], -1) * filled(target)
