"""Networks within the games that they learn from without labels.

Each module answers with the loss of every example rather than with the network's outputs, which
would be larger by the size of a vocabulary. The numbers that hide things are drawn in training;
in evaluation they follow from the example itself, so that a model is measured the same way
every time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Draw = Callable[[Sequence[int], Tensor], Tensor]
"""Returns uniform numbers in [0, 1) of a shape, where another tensor is."""

UNKNOWN = 1.0
KEPT = 0.1  # share of the chosen symbols that stay, as nothing is hidden later on
STRETCHES = 10  # into which the window of a series is cut, to hide some of them
_WORD = 0xFFFFFFFF
_BITS = 24


class Pretext(nn.Module):
    """Base of the games."""

    def __init__(self, network: nn.Module, draw: Draw) -> None:
        """Play with `network`, drawing numbers by `draw`."""
        super().__init__()
        self.network = network
        self.draw = draw

    def numbers(self, x: Tensor) -> Tensor:
        """Return uniform numbers of the shape of x: (batch, D)."""
        if self.training:
            return self.draw(x.shape, x)
        # Whole numbers: a hash of the place and of the whole example.
        whole_B1 = (x * 997).floor().long().sum(1, keepdim=True)
        place_D = torch.arange(x.shape[1], device=x.device)
        hashed = (whole_B1 * 0x9E3779B1 ^ (place_D + 1) * 0x85EBCA6B) & _WORD
        for factor in (0x2C1B3C6D, 0x297A2D39):
            hashed = ((hashed ^ (hashed >> 15)) * factor) & _WORD
        hashed = hashed ^ (hashed >> 15)
        return (hashed & ((1 << _BITS) - 1)).float() / (1 << _BITS)

    def few_numbers(self, x: Tensor, count: int) -> Tensor:
        """Return uniform numbers (batch, count) for x: (batch, …)."""
        if self.training:
            return self.draw((x.shape[0], count), x)
        return self.numbers(F.pad(x.flatten(1), (0, count)))[:, -count:]


class MaskedSymbols(Pretext):
    """Hidden symbols of a text are told from the others."""

    def __init__(self, network: nn.Module, draw: Draw, rate: float) -> None:
        """Hide symbols with probability `rate`."""
        super().__init__(network, draw)
        self.rate = rate
        self.by_place = callable(getattr(network, "symbol_scores", None))
        if self.by_place:
            network.head = nn.Identity()  # each hidden place has an answer of its own

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean nats (batch, 1) of the hidden symbols of x: (batch, positions)."""
        number_BT = torch.where(x > 0, self.numbers(x), 2.0)
        most = max(1, math.ceil(self.rate * x.shape[1]))
        chosen_BM = number_BT.topk(most, dim=1, largest=False).indices
        counts_BM = (number_BT.gather(1, chosen_BM) < self.rate).float()
        hidden_BT = number_BT < self.rate * (1 - KEPT)
        seen = torch.where(hidden_BT, UNKNOWN, x)
        truth_BM = x.long().gather(1, chosen_BM)
        if self.by_place:
            scores_BMV = self.network.symbol_scores(seen, chosen_BM)  # type: ignore[operator]
            nats_BM = -scores_BMV.log_softmax(-1).gather(2, truth_BM.unsqueeze(-1)).squeeze(-1)
        else:
            nats_BM = -self.network(seen).log_softmax(-1).gather(1, truth_BM)
        total_B1 = (nats_BM * counts_BM).sum(1, keepdim=True)
        mean_B1: Tensor = total_B1 / counts_BM.sum(1, keepdim=True).clamp(min=1)
        return mean_B1


class MaskedValues(Pretext):
    """Hidden values of a row are told from the others."""

    def __init__(
        self, network: nn.Module, draw: Draw, rate: float, categories: tuple[int, ...]
    ) -> None:
        """Hide values with probability `rate`; the last ones are codes of `categories`."""
        super().__init__(network, draw)
        self.rate, self.categories = rate, categories

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean loss (batch, 1) of the hidden values of x: (batch, D).

        Squared errors of numbers, nats of categories.
        """
        hidden = self.numbers(x) < self.rate
        outputs = self.network(torch.where(hidden, 0.0, x))  # the mean, or a missing category
        plain = x.shape[1] - len(self.categories)
        losses = [(outputs[:, :plain] - x[:, :plain]).square()]
        start = plain
        for place, size in enumerate(self.categories, plain):
            logits = outputs[:, start : start + size]
            code = x[:, place].long()
            losses.append(F.cross_entropy(logits, code, reduction="none").unsqueeze(1))
            start += size
        share = hidden.float()
        total_B1 = (torch.cat(losses, 1) * share).sum(1, keepdim=True)
        return total_B1 / share.sum(1, keepdim=True).clamp(min=1)


class MaskedSteps(Pretext):
    """Hidden stretches of a series are told from the rest of its window."""

    def __init__(self, network: nn.Module, draw: Draw, rate: float) -> None:
        """Hide stretches of a tenth of a window, each with probability `rate`."""
        super().__init__(network, draw)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean squared error (batch, 1) of the hidden values of x.

        Args:
            x: (batch, channels, steps), whose last channel is 1 where a step is.
        """
        batch, channels, steps = x.shape
        stretch = max(1, steps // STRETCHES)
        count = -(-steps // stretch)
        numbers = self.few_numbers(x, count)
        hidden_BT = (numbers < self.rate).repeat_interleave(stretch, dim=1)[:, :steps]
        share = hidden_BT.unsqueeze(1) * x[:, -1:]
        seen = torch.cat([x[:, :-1] * (1 - share), x[:, -1:]], dim=1)
        told = self.network(seen).view(batch, channels, steps)[:, :-1]
        total_B = ((told - x[:, :-1]).square() * share).sum((1, 2))
        count_B = share.sum((1, 2)) * (channels - 1)
        mean_B1: Tensor = (total_B / count_B.clamp(min=1)).unsqueeze(1)
        return mean_B1


class Rotated(Pretext):
    """By how many quarters an image was turned is told from the image."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean nats (batch, 1) of all four turns of x: (batch, channels, S, S)."""
        batch = x.shape[0]
        turned = torch.cat([x.rot90(quarters, (2, 3)) for quarters in range(4)])
        turns = torch.arange(4, device=x.device).repeat_interleave(batch)
        nats = F.cross_entropy(self.network(turned), turns, reduction="none")
        return nats.view(4, batch).mean(0).unsqueeze(1)


def within(network: nn.Module) -> nn.Module:
    """Return the network within its game, or the network itself where it plays none."""
    return network.network if isinstance(network, Pretext) else network
