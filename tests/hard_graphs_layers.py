"""Hard graphs of images and signals whose difficulty is a single layer or its weights."""

from __future__ import annotations

import torch
from hard_graphs import images
from hard_graphs_images import C, Net, Sequence, conv, image_graph
from torch import Tensor, nn
from torch.nn import functional as F


class SharedNorm(Net):
    def __init__(self):
        super().__init__(12)
        self.a, self.b, self.c = (nn.Conv2d(*c, 3, 1, 1) for c in ((C, 12), (16, 12), (12, 16)))
        self.norm = nn.BatchNorm2d(12)

    def body(self, x):
        x = F.relu(self.c(F.relu(self.norm(self.a(x)))))
        return F.relu(self.norm(self.b(x)))


class SharedNormResidual(Net):
    def __init__(self):
        super().__init__(12, a=nn.Conv2d(C, C, 1), b=nn.Conv2d(C, C, 1), last=conv(C, 12))
        self.norm = nn.BatchNorm2d(C)

    def body(self, x):
        x = x + self.norm(self.a(x))
        return self.last(x + self.norm(self.b(x)))


class Recursive(Net):
    def __init__(self):
        super().__init__(12, again=nn.Conv2d(C, C, 3, padding=1), last=conv(C, 12))

    def body(self, x):
        for _ in range(3):
            x = F.relu(self.again(x))
        return self.last(x)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(conv(3, C), conv(C, 12, 3, 2))
        self.mix, self.head = nn.Linear(24, 10), nn.Linear(10, 4)

    def forward(self, left, right):
        left, right = (self.encoder(x).mean((2, 3)) for x in (left, right))
        return self.head(F.relu(self.mix(torch.cat([left, right], 1))))


class StandardisedConv(nn.Conv2d):
    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


def weight_normed(c_in: int, c_out: int) -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Conv2d(c_in, c_out, 3, padding=1))


class Maxout(Net):
    def __init__(self):
        super().__init__(C, wide=nn.Conv2d(C, 2 * C, 3, padding=1), last=conv(C, C))

    def body(self, x):
        y = self.wide(x)
        b, c, h, w = y.shape
        return self.last(y.view(b, c // 2, 2, h, w).amax(2))


class Glu(Net):
    def __init__(self):
        super().__init__(C, wide=nn.Conv2d(C, 2 * C, 3, padding=1), last=conv(C, C))

    def body(self, x):
        return self.last(F.glu(self.wide(x), 1))


class SpatialAttention(Net):
    def __init__(self):
        super().__init__(look=nn.Conv2d(2, 1, 3, padding=1), last=conv(C, C))

    def body(self, x):
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return self.last(x * self.look(seen).sigmoid())


class NeighbourAttention(Net):
    """A convolution along the channels, which need their neighbours."""

    def __init__(self):
        super().__init__(look=nn.Conv1d(1, 1, 3, padding=1), last=conv(C, C))

    def body(self, x):
        seen = self.look(x.mean((2, 3))[:, None])
        return self.last(x * seen.transpose(1, 2)[..., None].sigmoid())


class Unfamiliar(Net):
    """One operator that nothing is known about, between layers that are plain."""

    def __init__(self):
        super().__init__(12, before=conv(C, 10), after=conv(10, 12))

    def body(self, x):
        return self.after(torch.special.i0(self.before(x)).log())


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(conv(3, C), conv(C, 12, 3, 2))
        self.kind, self.box = nn.Conv2d(12, 5, 1), nn.Conv2d(12, 4, 1)

    def forward(self, x):
        y = self.trunk(x)
        return {"kind": self.kind(y).mean((2, 3)), "boxes": [self.box(y).mean((2, 3))]}


class GramPooling(Net):
    """Products of all pairs of channels."""

    def __init__(self):
        super().__init__(C * C, more=conv(C, C))

    def forward(self, x):
        y = self.more(self.stem(x)).flatten(2)
        return self.head((y @ y.transpose(1, 2) / y.shape[-1]).flatten(1))


class Signal(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv1d(3, C, 3, padding=1), nn.BatchNorm1d(C), nn.ReLU())
        self.b = nn.Sequential(nn.MaxPool1d(2), nn.Conv1d(C, 12, 3, padding=2, dilation=2))
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        return self.head(self.b(self.a(x.flatten(2))).mean(-1))


class Volume(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv3d(1, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU())
        self.b = nn.Sequential(nn.AvgPool3d(2, ceil_mode=True), nn.Conv3d(6, 6, 1, groups=6))
        self.c = nn.ConvTranspose3d(6, 5, 2, 2)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        return self.head(self.c(self.b(self.a(x[:, None]))).mean((2, 3, 4)))


def two_images(batch: int) -> tuple[Tensor, ...]:
    return (*images(batch), *images(batch))


LAYERS = [
    image_graph(
        "group norm and instance norm",
        lambda: Sequence(
            nn.GroupNorm(2, C), nn.Conv2d(C, C, 1), nn.InstanceNorm2d(C, affine=True)
        ),
        12,
    ),
    image_graph(
        "group norm of pairs",
        lambda: Sequence(nn.GroupNorm(4, C), nn.Conv2d(C, C, 1), nn.InstanceNorm2d(C)),
        12,
    ),
    image_graph(
        "grouped transposed convolutions",
        lambda: Sequence(
            nn.ConvTranspose2d(C, C, 2, 2, groups=C),
            nn.ConvTranspose2d(C, 12, 2, 2, groups=2),
            nn.Conv2d(12, C, 1),
        ),
        18,
    ),
    image_graph(
        "pixel shuffle and unshuffle",
        lambda: Sequence(nn.PixelUnshuffle(2), nn.Conv2d(32, 16, 1), nn.PixelShuffle(2), out=4),
        12,
    ),
    image_graph("one norm in two places", SharedNorm, 36),
    image_graph("one norm on a residual", SharedNormResidual, 20),
    image_graph("one convolution three times", Recursive, 20),
    image_graph("two inputs, one encoder", Siamese, 30, inputs=two_images),
    image_graph(
        "standardised weights",
        lambda: Sequence(StandardisedConv(C, 10, 3), nn.ReLU(), nn.Conv2d(10, C, 1)),
        26,
    ),
    image_graph(
        "weight norm",
        lambda: Sequence(weight_normed(C, 10), nn.ReLU(), weight_normed(10, C)),
        26,
    ),
    image_graph("maxout", Maxout, 24),
    image_graph("gated linear unit", Glu, 24),
    image_graph("attention over the map", SpatialAttention, 16),
    image_graph("convolution along the channels", NeighbourAttention, 8),
    image_graph("unfamiliar operator", Unfamiliar, 20, ("special_i0",)),
    image_graph("outputs in a dictionary", TwoHeads, 20),
    image_graph("products of channels", GramPooling, 8),
    image_graph("reflection padding", lambda: Sequence(nn.ReflectionPad2d(1), conv(C, C)), 16),
    image_graph("slope of each channel", lambda: Sequence(nn.PReLU(C), conv(C, C)), 16),
    image_graph("one-dimensional convolutions", Signal, 20),
    image_graph("three-dimensional convolutions", Volume, 11),
]
