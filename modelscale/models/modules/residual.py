"""Residual blocks for images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from modelscale.models.modules.batch_norm import BatchNorm2d, batch_norm_without_shift
from modelscale.models.modules.convolution import convolution


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al., arXiv:1512.03385).

    The shortcut is the identity, or a 1×1 convolution where the shape changes.
    """

    def __init__(self, c_in: int, c_out: int, stride: int, separable: bool) -> None:
        """Make a block from `c_in` to `c_out` channels; the map shrinks by `stride`."""
        super().__init__()
        self.body = nn.Sequential(
            *convolution((c_in, c_out), 3, stride=stride, separable=separable, bias=False),
            BatchNorm2d(c_out),
            nn.ReLU(),
            *convolution((c_out, c_out), 3, separable=separable, bias=False),
            BatchNorm2d(c_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), BatchNorm2d(c_out)
            )
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, c_out, height / stride, width / stride)."""
        out: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return out


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow without activation.

    (Sandler et al., arXiv:1801.04381.) The input is added where the shape stays.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        expansion: int,
        filters: Sequence[nn.Module] = (),
    ) -> None:
        """Make a block from `c_in` to `c_out` channels, `expansion` times wider inside.

        Args:
            c_in: Channels of the input.
            c_out: Channels of the output.
            stride: By which the map shrinks.
            expansion: How many times wider the block is inside.
            filters: What filters each channel by itself, in place of a 3×3 convolution.
        """
        super().__init__()
        wide = c_in * expansion
        widen = [nn.Conv2d(c_in, wide, 1, bias=False), BatchNorm2d(wide), nn.ReLU6()]
        self.body = nn.Sequential(
            *(widen if expansion > 1 else []),
            *(filters or [nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)]),
            BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, c_out, 1, bias=False),
            batch_norm_without_shift(c_out),  # the next block widens and normalises again
        )
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, c_out, height / stride, width / stride)."""
        out: Tensor = self.body(x)
        return x + out if self.adds else out


def same_convolution(
    channels: tuple[int, int],
    sides: tuple[int, int],
    kernel: int,
    stride: int,
    groups: int = 1,
) -> tuple[list[nn.Module], tuple[int, int]]:
    """Return the layers of a convolution without bias, and the sides of what it answers.

    A map of `side` becomes one of ceil(side / stride), as in TensorFlow: where an odd number of
    zeros is wanted, there is one more behind than before.
    """
    c_in, c_out = channels
    after = tuple(-(-side // stride) for side in sides)
    lacks = [
        max(0, (new - 1) * stride + kernel - old) for new, old in zip(after, sides, strict=True)
    ]
    (top, bottom), (left, right) = [(lack // 2, lack - lack // 2) for lack in lacks]
    if (top, left) == (bottom, right):
        layers: list[nn.Module] = [
            nn.Conv2d(c_in, c_out, kernel, stride, (top, left), groups=groups, bias=False)
        ]
    else:
        convolution = nn.Conv2d(c_in, c_out, kernel, stride, groups=groups, bias=False)
        layers = [nn.ZeroPad2d((left, right, top, bottom)), convolution]
    return layers, (after[0], after[1])
