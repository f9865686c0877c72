"""Two views of the same example are told from views of others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelscale.losses.modules.pretext import Draw, Pretext

GROUP = 32
"""Examples that are told apart in evaluation: fixed, so that no loss depends on how many are
measured at a time."""

_TURN = math.radians(30)
_ZOOM, _SHADE, _NOISE, _HIDDEN = 0.6, 0.6, 0.3, 0.5
_OF_IMAGE = 7  # numbers that one view of an image takes


class Contrast(Pretext):
    """NT-Xent (Chen et al., arXiv:2002.05709): of all other views, which one is the second?"""

    def __init__(
        self, network: nn.Module, draw: Draw, temperature: float, strength: float, flip: bool
    ) -> None:
        """Play with `network`, whose outputs are compared by the angle between them."""
        super().__init__(network, draw)
        self.temperature, self.strength, self.flip = temperature, strength, flip

    def forward(self, x: Tensor) -> Tensor:
        """Return the nats (batch, 1) of x: (batch, channels, …); the mean over both views."""
        views = torch.cat(self._views(x))
        z = F.normalize(self.network(views), dim=1, eps=1e-6)
        first, second = z.split(len(x))
        if self.training:
            return self._nats(first, second)
        groups = zip(first.split(GROUP), second.split(GROUP), strict=True)
        return torch.cat([self._nats(a, b) for a, b in groups])

    def _nats(self, first: Tensor, second: Tensor) -> Tensor:
        count = len(first)
        both = torch.cat([first, second])
        likeness = both @ both.t() / self.temperature
        itself = torch.eye(2 * count, device=both.device)
        other = torch.arange(2 * count, device=both.device).roll(count)
        nats = F.cross_entropy(likeness - 1e9 * itself, other, reduction="none")
        return nats.view(2, count).mean(0).unsqueeze(1)

    def _views(self, x: Tensor) -> list[Tensor]:
        if x.dim() == 3:
            return [self._changed_series(x, place) for place in range(2)]
        numbers = self.few_numbers(x, 2 * _OF_IMAGE)
        return [self._changed_image(x, part) for part in numbers.split(_OF_IMAGE, dim=1)]

    def _changed_image(self, x: Tensor, numbers: Tensor) -> Tensor:
        """Return images zoomed into, moved, turned and shaded, perhaps mirrored."""
        zoom, right, down, turn, mirror, scale, bias = (2 * numbers - 1).unbind(1)
        side = 1 - self.strength * _ZOOM * (zoom + 1) / 2
        angle = self.strength * _TURN * turn
        cosine, sine = side * angle.cos(), side * angle.sin()
        sign = torch.where(mirror > 0, -1.0, 1.0) if self.flip else torch.ones_like(mirror)
        free = 1 - side  # so far may the middle move without leaving the image
        down_S, right_S = (
            (2 * torch.arange(size, device=x.device) + 1) / size - 1 for size in x.shape[2:]
        )
        y_BHW = down_S.view(1, -1, 1)
        x_BHW = right_S.view(1, 1, -1) * sign.view(-1, 1, 1)
        cosine, sine, right, down = (
            part.view(-1, 1, 1) for part in (cosine, sine, right * free, down * free)
        )
        turned = (cosine * x_BHW - sine * y_BHW + right, sine * x_BHW + cosine * y_BHW + down)
        places = torch.stack(turned, dim=-1)
        seen = F.grid_sample(x, places, padding_mode="border", align_corners=False)
        shade = 1 + self.strength * _SHADE * scale
        bias = self.strength * _SHADE * bias
        return seen * shade.view(-1, 1, 1, 1) + bias.view(-1, 1, 1, 1)

    def _changed_series(self, x: Tensor, view: int) -> Tensor:
        """Return series scaled, with noise, and with a stretch of steps hidden."""
        batch, channels, steps = x.shape
        plain = channels - 1  # the last one says whether a step is there
        count = plain * steps + plain + 1
        numbers = self.few_numbers(x, 2 * count)[:, view * count : (view + 1) * count]
        noise = (2 * numbers[:, : plain * steps] - 1).view(batch, plain, steps)
        scale = 2 * numbers[:, -plain - 1 : -1].unsqueeze(-1) - 1
        length = int(self.strength * _HIDDEN * steps)
        begin = (numbers[:, -1:] * (steps - length + 1)).floor()
        place = torch.arange(steps, device=x.device)
        kept = ((place < begin) | (place >= begin + length)).float().unsqueeze(1)
        there = x[:, -1:]
        seen = x[:, :-1] * (1 + self.strength * _SHADE * scale)
        seen = (seen + self.strength * _NOISE * math.sqrt(3) * noise) * kept * there
        return torch.cat([seen, there], dim=1)
