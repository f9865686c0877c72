"""The network of inverted residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

SMALLEST_MAP = 4  # pixels a side below which the map is not halved any more


class Stage(NamedTuple):
    """Channels at width 1 and blocks of a stage, and whether it may halve the map."""

    channels: int
    blocks: int
    halves: bool


STAGES = (
    Stage(16, 1, False),
    Stage(24, 2, True),
    Stage(32, 2, True),
    Stage(64, 2, True),
)
HEAD_CHANNELS = 128


class Mobilenet(ModelSpec):
    """Inverted residuals with depthwise convolutions, after MobileNetV2.

    (Sandler et al., arXiv:1801.04381.) It has seven blocks in place of seventeen and halves
    the map only while four pixels a side are left, which suits images from 8×8 to 96×96.
    """

    takes: ClassVar[tuple[Form, ...]] = ("image",)

    width: float = Field(1.0, gt=0)
    """Factor on the channels of every layer, rounded to whole multiples of 4."""

    expansion: int = Field(4, ge=1)
    """How many times wider a block is inside."""

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.batch_norm import BatchNorm2d
        from modelscale.models.modules.layers import GlobalAveragePool
        from modelscale.models.modules.residual import InvertedResidual

        side, c_in = min(inputs.shape[1:]), self._scaled(16)
        stride = 2 if side >= 64 else 1
        layers: list[nn.Module] = [
            nn.Conv2d(inputs.shape[0], c_in, 3, stride, 1, bias=False),
            BatchNorm2d(c_in),
            nn.ReLU6(),
        ]
        side //= stride
        for i, stage in enumerate(STAGES):
            for block in range(stage.blocks):
                halve = stage.halves and block == 0 and side >= 2 * SMALLEST_MAP
                side = side // 2 if halve else side
                c_out, expansion = self._scaled(stage.channels), self.expansion if i else 1
                layers.append(InvertedResidual(c_in, c_out, 2 if halve else 1, expansion))
                c_in = c_out
        head = self._scaled(HEAD_CHANNELS)
        return nn.Sequential(
            *layers,
            nn.Conv2d(c_in, head, 1, bias=False),
            BatchNorm2d(head),
            nn.ReLU6(),
            GlobalAveragePool(),
            nn.Linear(head, outputs),
        )

    def _scaled(self, channels: int) -> int:
        return max(4, round(channels * self.width / 4) * 4)
