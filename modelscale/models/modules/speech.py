"""Parts of networks that read spectra; frames that are 0 in all bands are padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modelscale.models.modules.batch_norm import BatchNorm2d, batch_norm_without_shift
from modelscale.models.modules.dropout import Dropout

EMPTY = 1e-6  # keeps a recording of padding alone from dividing by 0
CERTAIN = 100.0  # logit of the blank where nothing is said any more


def held_frames(x: Tensor) -> Tensor:
    """Return (batch, 1, 1, frames), 1 where a recording goes on and 0 behind its end."""
    return (x != 0).any(2, keepdim=True).any(1, keepdim=True).float()


class Keywords(nn.Module):
    """Depthwise-separable convolutions, averaged over a recording's own frames."""

    def __init__(
        self, channels: int, width: int, blocks: int, dropout: float, outputs: int
    ) -> None:
        """Make a network for maps of `channels`; both sides are halved once, at the start."""
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, (5, 5), stride=2, padding=2, bias=False),
            BatchNorm2d(width),
            nn.ReLU(),
        ]
        for _ in range(blocks):
            layers += [
                nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
                batch_norm_without_shift(width),
                nn.Conv2d(width, width, 1, bias=False),
                BatchNorm2d(width),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs) of x: (batch, channels, bands, frames)."""
        held_B11T = held_frames(x)[..., ::2]
        seen = self.layers(x).mean(2, keepdim=True)
        total = (seen * held_B11T).sum((2, 3))
        out: Tensor = self.head(self.drop(total / (held_B11T.sum((2, 3)) + EMPTY)))
        return out


def blank_behind(scores_BTV: Tensor, held_BT1: Tensor) -> Tensor:
    """Return the scores, with the blank certain where a recording has ended."""
    certain_V = torch.full((scores_BTV.shape[-1],), -CERTAIN, device=scores_BTV.device)
    certain_V[0] = CERTAIN
    return scores_BTV * held_BT1 + certain_V * (1 - held_BT1)


class TimeBlock(nn.Module):
    """A depthwise convolution over time and a pointwise one, added to what came in."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(
                width, width, (1, kernel), padding=(0, kernel // 2), groups=width, bias=False
            ),
            nn.Conv2d(width, width, 1, bias=False),
            BatchNorm2d(width),
            nn.ReLU(),
            *([Dropout(dropout)] if dropout > 0 else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, width, 1, frames) of x of the same shape."""
        out: Tensor = x + self.layers(x)
        return out


class Writer(nn.Module):
    """Scores of all symbols for every second frame."""

    def __init__(
        self, features: int, width: int, blocks: int, kernel: int, dropout: float, outputs: int
    ) -> None:
        """Make a network that reads `features` numbers of each frame."""
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(features, width, (1, 5), stride=(1, 2), padding=(0, 2), bias=False),
            BatchNorm2d(width),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList(TimeBlock(width, kernel, dropout) for _ in range(blocks))
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, ceil(T / 2), outputs) of x: (batch, channels, bands, T)."""
        held_B11T = held_frames(x)[..., ::2]
        seen = self.first(x.flatten(1, 2).unsqueeze(2)) * held_B11T
        for block in self.blocks:
            # What lies behind the end must not reach into the recording.
            seen = block(seen) * held_B11T
        scores_BTV = self.head(seen).squeeze(2).transpose(1, 2)
        return blank_behind(scores_BTV, held_B11T.flatten(1).unsqueeze(-1))
