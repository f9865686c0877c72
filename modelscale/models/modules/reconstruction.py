"""Networks that make their input again; where they fail, an example is unlike the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelscale.models.modules.series import EMPTY, there

SMALLEST = 1e-6  # error below which examples are equally usual


def as_logits(error_B: Tensor) -> Tensor:
    """Return (batch, 2) logits whose difference is the logarithm of the error.

    So the probability of the second class, error / (1 + error), ranks as the error does.
    """
    odds_B = (error_B + SMALLEST).log()
    return torch.stack([torch.zeros_like(odds_B), odds_B], dim=1)


def squeezed(x: Tensor, squeeze: float) -> Tensor:
    """Return asinh(squeeze · x): like x near 0, and like its logarithm far out."""
    return torch.asinh(squeeze * x) if squeeze else x


class Autoencoder(nn.Module):
    """Layers down to a narrow code and up again (Rumelhart et al., 1986)."""

    def __init__(self, body: nn.Module, squeeze: float) -> None:
        """Make it of `body`, from (batch, values) to (batch, values)."""
        super().__init__()
        self.body, self.squeeze = body, squeeze

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, 2) of x: (batch, values)."""
        wanted = squeezed(x, self.squeeze)
        return as_logits((self.body(wanted) - wanted).abs().mean(1))


class SeriesAutoencoder(nn.Module):
    """Strided convolutions down to a narrow code of each stretch of a series, and up again."""

    def __init__(
        self, channels: int, widths: tuple[int, ...], kernel: int, code: int, squeeze: float
    ) -> None:
        """Make it for series of `channels`; each of `widths` halves the positions."""
        super().__init__()
        self.squeeze, self.halvings = squeeze, len(widths)
        ins, reach = (channels, *widths[:-1]), kernel // 2
        self.down = nn.ModuleList(
            nn.Conv1d(c_in, c_out, kernel, 2, reach)
            for c_in, c_out in zip(ins, widths, strict=True)
        )
        self.narrow = nn.Conv1d(widths[-1], code, 1)
        outs = (*widths[-2::-1], channels - 1)
        self.open = nn.Conv1d(code, widths[-1], 1)
        self.up = nn.ModuleList(
            nn.Conv1d(c_in, c_out, kernel, padding=reach)
            for c_in, c_out in zip(widths[::-1], outs, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, 2) of x: (batch, channels, positions)."""
        there_B1T = there(x)
        wanted = squeezed(x[:, :-1], self.squeeze) * there_B1T
        positions = x.shape[-1]
        short = -positions % (1 << self.halvings)
        seen = F.pad(torch.cat([wanted, there_B1T], dim=1), (0, short))
        for layer in self.down:
            seen = F.gelu(layer(seen))
        seen = F.gelu(self.open(self.narrow(seen)))
        for place, layer in enumerate(self.up):
            seen = layer(seen.repeat_interleave(2, dim=-1))
            seen = F.gelu(seen) if place < self.halvings - 1 else seen
        error = ((seen[..., :positions] - wanted).abs() * there_B1T).mean(1).sum(-1)
        return as_logits(error / (there_B1T[:, 0].sum(-1) + EMPTY))
