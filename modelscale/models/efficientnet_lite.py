"""The network of inverted residuals that published image weights have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn


class Stage(NamedTuple):
    """Channels and blocks at width and depth 1, filter size and stride, width inside."""

    channels: int
    blocks: int
    kernel: int
    stride: int
    expansion: int


STAGES = (
    Stage(16, 1, 3, 1, 1),
    Stage(24, 2, 3, 2, 6),
    Stage(40, 2, 5, 2, 6),
    Stage(80, 3, 3, 2, 6),
    Stage(112, 3, 5, 1, 6),
    Stage(192, 4, 5, 2, 6),
    Stage(320, 1, 3, 1, 6),
)
LEAST_SIDE = 32  # pixels
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280


class EfficientnetLite(ModelSpec):
    """Inverted residuals found by search (Tan & Le, arXiv:1905.11946), the lite variant.

    Without squeeze-and-excite and with ReLU6, which quantise well. The map is halved five
    times, so that it wants images of 96 pixels a side or more. Width and depth of the five
    published sizes: 1 and 1, 1 and 1.1, 1.1 and 1.2, 1.2 and 1.4, 1.4 and 1.8; as
    `model: {from: efficientnet_lite0}` the first begins with weights learnt from ImageNet.
    """

    takes: ClassVar[tuple[Form, ...]] = ("image",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    width: float = Field(1.0, gt=0)
    """Factor on the channels of every stage, rounded to whole multiples of 8."""

    depth: float = Field(1.0, gt=0)
    """Factor on the blocks of every stage but the first and the last, rounded up."""

    dropout: float = Field(0.2, ge=0, lt=1)
    """Probability with which values are left out before the output layer."""

    def check_size(self, inputs: Inputs) -> None:
        height, width = inputs.shape[1:]
        if min(height, width) < LEAST_SIDE:
            raise ValueError(
                f"{self.own_kind()} halves images five times; {height}×{width} pixels are too "
                f"few, give it {LEAST_SIDE} a side or more (size of the source)"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.batch_norm import BatchNorm2d
        from modelscale.models.modules.dropout import Dropout
        from modelscale.models.modules.layers import GlobalAveragePool
        from modelscale.models.modules.residual import InvertedResidual, same_convolution

        sides, c_in = (inputs.shape[1], inputs.shape[2]), STEM_CHANNELS
        stem, sides = same_convolution((inputs.shape[0], c_in), sides, 3, 2)
        layers: list[nn.Module] = [nn.Sequential(*stem, BatchNorm2d(c_in), nn.ReLU6())]
        for stage in STAGES:
            c_out = self._scaled(stage.channels)
            for block in range(self._blocks(stage)):
                stride, wide = stage.stride if block == 0 else 1, c_in * stage.expansion
                filters, sides = same_convolution(
                    (wide, wide), sides, stage.kernel, stride, groups=wide
                )
                layers.append(InvertedResidual(c_in, c_out, stride, stage.expansion, filters))
                c_in = c_out
        return nn.Sequential(
            *layers,
            nn.Conv2d(c_in, HEAD_CHANNELS, 1, bias=False),
            BatchNorm2d(HEAD_CHANNELS),
            nn.ReLU6(),
            GlobalAveragePool(),
            Dropout(self.dropout) if self.dropout > 0 else nn.Identity(),
            nn.Linear(HEAD_CHANNELS, outputs),
        )

    def _scaled(self, channels: int) -> int:
        """Return channels times width as a multiple of 8 that loses at most a tenth."""
        wanted = channels * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded

    def _blocks(self, stage: Stage) -> int:
        fixed = stage in {STAGES[0], STAGES[-1]}
        return stage.blocks if fixed else math.ceil(stage.blocks * self.depth)
