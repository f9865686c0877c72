"""Residual blocks for images."""

from __future__ import annotations

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

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
        """Make a block from `c_in` to `c_out` channels, `expansion` times wider inside."""
        super().__init__()
        wide = c_in * expansion
        widen = [nn.Conv2d(c_in, wide, 1, bias=False), BatchNorm2d(wide), nn.ReLU6()]
        self.body = nn.Sequential(
            *(widen if expansion > 1 else []),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
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
