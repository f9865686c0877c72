"""Hard graphs of images whose difficulty is how channels of plain layers meet."""

from __future__ import annotations

import torch
from hard_graphs import HardGraph, images
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

C = 8


def conv(c_in: int, c_out: int, kernel: int = 3, stride: int = 1, groups: int = 1):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(),
    )


class Net(nn.Module):
    """A stem of C channels, some layers, and a linear head on averaged channels."""

    def __init__(self, out: int = C, stem: int = C, **layers: nn.Module) -> None:
        super().__init__()
        self.stem = conv(3, stem)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.head = nn.Linear(out, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))

    def body(self, x: Tensor) -> Tensor:
        return x


class Residual(Net):
    def __init__(self) -> None:
        super().__init__(
            2 * C,
            first=nn.Sequential(conv(C, C), nn.Conv2d(C, C, 3, padding=1), nn.BatchNorm2d(C)),
            down=nn.Conv2d(C, 2 * C, 1, 2),
            second=nn.Sequential(conv(C, 2 * C, stride=2), nn.Conv2d(2 * C, 2 * C, 1)),
        )

    def body(self, x):
        x = F.relu(x + self.first(x))
        return F.relu(self.down(x) + self.second(x))


class Frozen(Residual):
    def __init__(self):
        super().__init__()
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith("head"))


class Checkpointed(Residual):
    def body(self, x):
        x = F.relu(x + checkpoint(self.first, x, use_reentrant=True))
        return F.relu(self.down(x) + self.second(x))


class Branching(Residual):
    def body(self, x):
        return super().body(x * 2 if x.abs().mean() > 1e9 else x)


class ReZero(Residual):
    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))

    def body(self, x):
        x = F.relu(x + self.gate * self.first(x))
        return F.relu(self.down(x) + self.second(x))


class InvertedResidual(Net):
    def __init__(self):
        super().__init__(
            block=nn.Sequential(conv(C, 3 * C, 1), conv(3 * C, 3 * C, groups=3 * C)),
            narrow=nn.Conv2d(3 * C, C, 1),
        )

    def body(self, x):
        return x + self.narrow(self.block(x))


class Sequence(Net):
    """Layers one after the other."""

    def __init__(self, *layers: nn.Module, out: int = C, stem: int = C):
        super().__init__(out, stem, layers=nn.Sequential(*layers))

    def body(self, x):
        return self.layers(x)


class Dense(Net):
    def __init__(self):
        super().__init__(C)
        widths = [C + 4 * i for i in range(3)]
        self.growth = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, 4, 3, padding=1))
            for c in widths
        )
        self.transition = conv(C + 12, C, 1)

    def body(self, x):
        for layer in self.growth:
            x = torch.cat([x, layer(x)], 1)
        return self.transition(x)


class ShuffleSplit(Net):
    def __init__(self):
        super().__init__(2 * C, 2 * C)
        self.branch = nn.Sequential(conv(C, C, 1), conv(C, C, groups=C), conv(C, C, 1))
        self.last = conv(2 * C, 2 * C, 1)

    def body(self, x):
        left, right = x.chunk(2, 1)
        x = torch.cat([left, self.branch(right)], 1)
        b, c, h, w = x.shape
        return self.last(x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w))


class ShuffleGroups(Net):
    """Grouped 1×1 convolutions with the channels dealt out between them."""

    def __init__(self):
        super().__init__(2 * C, 2 * C)
        self.first = conv(2 * C, 2 * C, 1, groups=2)
        self.spatial = conv(2 * C, 2 * C, groups=2 * C)
        self.second = conv(2 * C, 2 * C, 1, groups=2)

    def body(self, x):
        y = nn.functional.channel_shuffle(self.first(x), 2)
        return x + self.second(self.spatial(y))


class SqueezeExcite(Net):
    def __init__(self):
        super().__init__(down=nn.Conv2d(C, 4, 1), up=nn.Conv2d(4, C, 1), last=conv(C, C))

    def body(self, x):
        gate = self.up(F.relu(self.down(x.mean((2, 3), keepdim=True))))
        return self.last(x * gate.sigmoid())


class Flat(Net):
    def __init__(self):
        super().__init__(12, more=conv(C, 5, 3, 2), hidden=nn.Linear(5 * 16, 12))

    def forward(self, x):
        return self.head(F.relu(self.hidden(self.more(self.stem(x)).flatten(1))))


class FlatLiteral(Flat):
    def forward(self, x):
        return self.head(F.relu(self.hidden(self.more(self.stem(x)).view(-1, 80))))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.down3 = conv(3, 8), conv(8, 12, 3, 2), conv(12, 16, 3, 2)
        self.up2, self.mix2 = nn.ConvTranspose2d(16, 12, 2, 2), conv(24, 12)
        self.up1, self.mix1 = nn.ConvTranspose2d(12, 8, 2, 2), conv(16, 8)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(a)
        y = self.mix2(torch.cat([self.up2(self.down3(b)), b], 1))
        return self.out(self.mix1(torch.cat([self.up1(y), a], 1)))


class PaddedShortcut(Net):
    """Option A of the first residual networks: strided pixels and zero channels."""

    def __init__(self):
        body = nn.Sequential(conv(C, 2 * C, 3, 2), nn.Conv2d(2 * C, 2 * C, 3, padding=1))
        super().__init__(2 * C, block=body)

    def body(self, x):
        return F.relu(F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)) + self.block(x))


class StridedSlices(Net):
    def __init__(self):
        super().__init__(C, 2 * C, even=conv(C, C), odd=conv(C, C))

    def body(self, x):
        return self.even(x[:, ::2]) + self.odd(x[:, 1::2])


class HalfSlices(Net):
    """Cross-stage partial: the first channels go on, the others pass by."""

    def __init__(self):
        super().__init__(2 * C, 2 * C, inner=conv(6, 6))
        self.part = 6

    def body(self, x):
        return torch.cat([self.inner(x[:, : self.part]), x[:, self.part :]], 1)


class Inception(Net):
    def __init__(self):
        super().__init__(12, a=conv(C, 4, 1), b=conv(C, 5), c=conv(C, 6, 5), last=conv(15, 12))

    def body(self, x):
        return self.last(torch.cat([self.a(x), self.b(x), self.c(F.max_pool2d(x, 3, 1, 1))], 1))


class ConvNext(Net):
    def __init__(self):
        super().__init__(C, spatial=nn.Conv2d(C, C, 3, 1, 1, groups=C), norm=nn.LayerNorm(C))
        self.wide, self.narrow = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)
        self.scale = nn.Parameter(torch.full((C,), 1e-6))

    def body(self, x):
        y = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        y = self.scale * self.narrow(F.gelu(self.wide(y)))
        return x + y.permute(0, 3, 1, 2)


class SelectiveKernel(Net):
    """Branches weighed channel by channel, the weights of a channel adding up to one."""

    def __init__(self):
        super().__init__(a=conv(C, C), b=conv(C, C, 5), look=nn.Linear(C, 6))
        self.weigh = nn.ModuleList(nn.Linear(6, C) for _ in range(2))

    def body(self, x):
        maps = torch.stack([self.a(x), self.b(x)], 1)
        seen = F.relu(self.look(maps.sum(1).mean((2, 3))))
        weights = torch.stack([layer(seen) for layer in self.weigh], 1).softmax(1)
        return (maps * weights[..., None, None]).sum(1)


class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2, self.c3 = conv(3, 6), conv(6, 8, 3, 2), conv(8, 10, 3, 2)
        self.lateral = nn.ModuleList(nn.Conv2d(c, 7, 1) for c in (6, 8, 10))
        self.out = nn.Conv2d(7, 2, 3, padding=1)

    def forward(self, x):
        a = self.c1(x)
        b = self.c2(a)
        c = self.lateral[2](self.c3(b))
        b = self.lateral[1](b) + F.interpolate(c, scale_factor=2.0, mode="nearest")
        a = self.lateral[0](a) + F.interpolate(b, scale_factor=2.0, mode="bilinear")
        return self.out(F.relu(a))


def image_graph(name, build, units, declines=(), rewritten=False, inputs=images):
    return HardGraph(name, build, inputs, units, declines, rewritten)


IMAGES = [
    image_graph("residual", Residual, 48),
    image_graph("frozen backbone", Frozen, 48),
    image_graph("re-entrant checkpoint", Checkpointed, 48),
    image_graph("branch on values", Branching, 0, ("does not export",)),
    image_graph("residual gate of zero", ReZero, 48),
    image_graph("inverted residual", InvertedResidual, 32),
    image_graph("few wide groups", lambda: Sequence(conv(C, C, 3, 1, 2), conv(C, C, 1)), 16),
    image_graph("many narrow groups", lambda: Sequence(conv(C, 2 * C, 3, 1, 4), out=2 * C), 4),
    image_graph("depthwise with multiplier", lambda: Sequence(conv(C, 16, 3, 1, C), out=16), 8),
    image_graph("dense concatenation", Dense, 28),
    image_graph("channel split and shuffle", ShuffleSplit, 40),
    image_graph("shuffle between groups", ShuffleGroups, 12),
    image_graph("squeeze and excite", SqueezeExcite, 20),
    image_graph("flatten to linear", Flat, 25),
    image_graph("view of a literal size", FlatLiteral, 25, rewritten=True),
    image_graph("U-net with transposed convolutions", UNet, 76),
    image_graph("shortcut padded with zeros", PaddedShortcut, 32, rewritten=True),
    image_graph("strided channel slices", StridedSlices, 24),
    image_graph("channel slices by an attribute", HalfSlices, 22),
    image_graph("branches with pooling", Inception, 35),
    image_graph("channels last with layer scale", ConvNext, 40),
    image_graph("softmax over branches", SelectiveKernel, 22),
    image_graph("pyramid with interpolation", Pyramid, 31),
]
