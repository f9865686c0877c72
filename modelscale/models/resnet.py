"""The residual network."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn


class Resnet(ModelSpec):
    """Residual network for small images (He et al., arXiv:1512.03385, section 4.2).

    Each stage after the first halves the map and doubles the channels. The depth in the
    paper's count is 2 · stages · blocks + 2.
    """

    takes: ClassVar[tuple[Form, ...]] = ("image",)
    widths: ClassVar[tuple[str, ...]] = ("width",)

    width: int = Field(16, ge=1)
    """Channels of the first stage."""

    blocks: int = Field(2, ge=1)
    """Residual blocks of two convolutions in each stage."""

    stages: int = Field(3, ge=1, le=6)
    """Resolutions that the network works at."""

    depthwise_separable: bool = False
    """Whether the blocks' convolutions are split into depthwise and pointwise ones."""

    def check_size(self, inputs: Inputs) -> None:
        least = 2 ** (self.stages - 1)
        if min(inputs.shape[1:]) < least:
            raise ValueError(
                f"resnet with {self.stages} stages needs images of {least}×{least} pixels or "
                f"more, not of shape {inputs.shape}; set fewer stages"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.batch_norm import BatchNorm2d
        from modelscale.models.modules.layers import GlobalAveragePool
        from modelscale.models.modules.residual import BasicBlock

        c_in = self.width
        layers: list[nn.Module] = [
            nn.Conv2d(inputs.shape[0], c_in, 3, padding=1, bias=False),
            BatchNorm2d(c_in),
            nn.ReLU(),
        ]
        for stage in range(self.stages):
            c_out = self.width * 2**stage
            for block in range(self.blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(BasicBlock(c_in, c_out, stride, self.depthwise_separable))
                c_in = c_out
        return nn.Sequential(*layers, GlobalAveragePool(), nn.Linear(c_in, outputs))
