"""Parts of networks that read series (batch, channels, positions).

The last channel is 1 at each step and 0 in the padding behind the last one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelscale.models.modules.dropout import Dropout

HIDDEN = -1e9  # what a maximum must not see; finite, for series of padding alone
EMPTY = 1e-6  # keeps a series without steps from dividing by 0


def there(x: Tensor) -> Tensor:
    """Return (batch, 1, positions), 1 where a step is and 0 where padding is."""
    return x[:, -1:]


def mean_of_steps(values: Tensor, there_B1T: Tensor) -> Tensor:
    """Return (batch, width), the mean of (batch, width, positions) over the steps."""
    total = (values * there_B1T).sum(-1)
    return total / (there_B1T.sum(-1) + EMPTY)


def last_of_steps(values: Tensor, there_B1T: Tensor) -> Tensor:
    """Return (batch, width), (batch, width, positions) at the last step."""
    behind_B1T = F.pad(there_B1T[..., 1:], (0, 1))
    return (values * (there_B1T * (1 - behind_B1T))).sum(-1)


class ChannelNorm(nn.Module):
    """Layer normalisation of each position over its channels."""

    def __init__(self, width: int) -> None:
        """Normalise `width` channels."""
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, width, positions) of x of the same shape."""
        out: Tensor = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return out


class DilatedBlock(nn.Module):
    """Two convolutions beside a shortcut; the first looks `dilation` steps apart.

    (Bai et al., arXiv:1803.01271, without the causal padding: a window is known as a whole.)
    """

    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        """Make a block of `width` channels whose first convolution sees `kernel` steps."""
        super().__init__()
        reach = dilation * (kernel // 2)
        self.norm = ChannelNorm(width)
        self.first = nn.Conv1d(width, width, kernel, padding=reach, dilation=dilation)
        self.second = nn.Conv1d(width, width, 1)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()

    def forward(self, x: Tensor, there_B1T: Tensor) -> Tensor:
        """Return (batch, width, positions) of x of the same shape."""
        seen = F.gelu(self.first(self.norm(x) * there_B1T))
        out: Tensor = x + self.drop(self.second(seen))
        return out


class TemporalCnn(nn.Module):
    """A convolution, blocks of growing dilation, and an answer from what they found."""

    def __init__(
        self,
        channels: int,
        width: int,
        stride: int,
        blocks: list[DilatedBlock],
        kernel: int,
        pooling: str,
        outputs: int,
    ) -> None:
        """Make it for series of `channels`; the first convolution moves `stride` steps on."""
        super().__init__()
        self.stride, self.pooling = stride, pooling
        self.stem = nn.Conv1d(channels, width, kernel, stride, kernel // 2)
        self.blocks = nn.ModuleList(blocks)
        self.norm = ChannelNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs) of x: (batch, channels, positions)."""
        there_B1T = there(x)[..., :: self.stride]
        seen = self.stem(x)
        for block in self.blocks:
            seen = block(seen, there_B1T)
        out: Tensor = self.head(pooled(self.norm(seen), there_B1T, self.pooling))
        return out


def pooled(values: Tensor, there_B1T: Tensor, pooling: str) -> Tensor:
    """Return (batch, width): the mean, the largest or the last of the steps' values."""
    if pooling == "average":
        return mean_of_steps(values, there_B1T)
    if pooling == "last":
        return last_of_steps(values, there_B1T)
    return (values + (there_B1T - 1) * -HIDDEN).amax(-1)


class Gates(nn.Module):
    """One layer of a recurrent network in one direction, written out step by step.

    The fused kernels have no rule for `vmap`, and counters of operations do not see them.
    """

    def __init__(self, inputs: int, width: int, cell: str, backwards: bool) -> None:
        """Make a `cell`, gru or lstm, of `width` units."""
        super().__init__()
        self.width, self.cell, self.backwards = width, cell, backwards
        gates = 3 if cell == "gru" else 4
        self.read = nn.Linear(inputs, gates * width)
        self.recall = nn.Linear(width, gates * width, bias=False)
        if cell == "lstm":
            with torch.no_grad():  # remember at first (Jozefowicz et al., ICML 2015)
                self.read.bias[width : 2 * width] += 1.0

    def forward(self, x: Tensor, there_BT1: Tensor) -> Tensor:
        """Return states (batch, positions, width) of x: (batch, positions, inputs).

        In padding the state stays what it was.
        """
        read = self.read(x).unbind(1)
        kept = there_BT1.unbind(1)
        state = read[0].new_zeros(read[0].shape[0], self.width)
        memory = state
        states: list[Tensor] = []
        steps = range(len(read))
        for t in reversed(steps) if self.backwards else steps:
            if self.cell == "gru":
                new = self._gru(read[t], state)
            else:
                new, remembered = self._lstm(read[t], state, memory)
                memory = memory + kept[t] * (remembered - memory)
            state = state + kept[t] * (new - state)
            states.append(state)
        if self.backwards:
            states.reverse()
        return torch.stack(states, dim=1)

    def _gru(self, read: Tensor, state: Tensor) -> Tensor:
        """Return the next state (Cho et al., arXiv:1406.1078; the reset after the product)."""
        r, z, n = read.chunk(3, dim=-1)
        r_old, z_old, n_old = self.recall(state).chunk(3, dim=-1)
        reset, update = (r + r_old).sigmoid(), (z + z_old).sigmoid()
        new = (n + reset * n_old).tanh()
        out: Tensor = new + update * (state - new)
        return out

    def _lstm(self, read: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next state and memory (Hochreiter & Schmidhuber, 1997; Gers et al.)."""
        i, f, g, o = (read + self.recall(state)).chunk(4, dim=-1)
        remembered = f.sigmoid() * memory + i.sigmoid() * g.tanh()
        return o.sigmoid() * remembered.tanh(), remembered


class Recurrent(nn.Module):
    """Layers of gates, in one direction or both, and an answer from their states."""

    def __init__(
        self,
        layers: list[list[Gates]],
        pooling: str,
        dropout: float,
        outputs: int,
    ) -> None:
        """Make it of `layers`, each of the gates of one direction or of both."""
        super().__init__()
        first = layers[0]
        self.pooling, self.width, self.both = pooling, first[0].width, len(first) > 1
        self.layers = nn.ModuleList(nn.ModuleList(layer) for layer in layers)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.head = nn.Linear(self.width * len(first), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs) of x: (batch, channels, positions)."""
        there_B1T = there(x)
        there_BT1 = there_B1T.transpose(1, 2)
        seen = x.transpose(1, 2)
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            seen = self.drop(torch.cat([gates(seen, there_BT1) for gates in layer], dim=-1))
        if self.pooling == "last":
            # Each direction's last state: behind the last step, and before the first one.
            found = seen[:, -1, : self.width]
            if self.both:
                found = torch.cat([found, seen[:, 0, self.width :]], dim=-1)
        else:
            found = pooled(seen.transpose(1, 2), there_B1T, self.pooling)
        out: Tensor = self.head(found)
        return out
