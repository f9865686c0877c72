"""The encoder of voices, and its weights as they were published."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from modelscale.models.modules.series import Gates
from modelscale.models.modules.speech import held_frames


class Voice(nn.Module):
    """LSTM over the powers of bands; classes are scored by the direction of its last state."""

    def __init__(self, bands: int, width: int, layers: int, outputs: int) -> None:
        """Make `layers` of `width` units."""
        super().__init__()
        self.layers = nn.ModuleList(
            Gates(width if place else bands, width, "lstm", backwards=False)
            for place in range(layers)
        )
        self.direction = nn.Linear(width, width)
        self.scale = width**0.5  # so that a direction's numbers are about 1
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs) of x: (batch, 1, bands, frames), logarithms of powers."""
        out: Tensor = self.head(self.directions(x) * self.scale)
        return out

    def directions(self, x: Tensor) -> Tensor:
        """Return (batch, width), each of length 1 and without negative numbers."""
        held_BT1 = held_frames(x).flatten(1, 2).transpose(1, 2)
        seen = x.squeeze(1).transpose(1, 2).exp() * held_BT1
        for gates in self.layers:
            seen = gates(seen, held_BT1)
        return F.normalize(self.direction(seen[:, -1]).relu(), dim=-1)


def from_published(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return published weights by the names of `Voice`, but for its head.

    Args:
        named: By the names of a torch LSTM `lstm` and a linear layer `linear`.
    """
    tensors = {f"direction.{part}": named[f"linear.{part}"] for part in ("weight", "bias")}
    place = 0
    while f"lstm.weight_ih_l{place}" in named:
        bias = named[f"lstm.bias_ih_l{place}"] + named[f"lstm.bias_hh_l{place}"]
        tensors |= {
            f"layers.{place}.read.weight": named[f"lstm.weight_ih_l{place}"],
            f"layers.{place}.read.bias": bias,
            f"layers.{place}.recall.weight": named[f"lstm.weight_hh_l{place}"],
        }
        place += 1
    return tensors
