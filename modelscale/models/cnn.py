"""The plain convolutional network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

Channels = Annotated[int, Field(ge=1)]


class Cnn(ModelSpec):
    """Convolutions with norm, ReLU and pooling between them, global average, linear output.

    The map is halved after every block but the last, as long as it has two pixels a side.
    """

    takes: ClassVar[tuple[Form, ...]] = ("image",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)
    widths: ClassVar[tuple[str, ...]] = ("channels",)

    channels: tuple[Channels, ...] = Field((32, 64, 128), min_length=1)
    """Channels of each convolution."""

    kernel: int = Field(3, ge=1)
    """Side of the convolutions' kernels in pixels; odd."""

    pooling: Literal["max", "average"] = "max"
    """How 2×2 pixels become one between two convolutions."""

    depthwise_separable: bool = False
    """Whether each convolution but the first is split into a depthwise and a pointwise one."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability with which each averaged channel is left out in a training step."""

    norm: Literal["none", "layer", "batch"] = "batch"
    """Normalisation before ReLU: over an example's map, or over the batch."""

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        return kernel

    def layer_widths(self) -> tuple[int, ...]:
        return () if self.norm == "layer" else self.channels  # it is over the whole map

    def widened(self, widths: tuple[int, ...]) -> Self:
        return self.model_copy(update={"channels": widths}) if widths else self

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.convolution import convolution
        from modelscale.models.modules.dropout import Dropout
        from modelscale.models.modules.layers import GlobalAveragePool, norm_of_channels

        layers: list[nn.Module] = []
        c_in, *size = inputs.shape
        for i, channels in enumerate(self.channels):
            if i > 0 and min(size) >= 2:
                layers.append(nn.MaxPool2d(2) if self.pooling == "max" else nn.AvgPool2d(2))
                size = [side // 2 for side in size]
            layers += [
                *convolution(
                    (c_in, channels),
                    self.kernel,
                    # The first one has too few input channels to gain from it.
                    separable=self.depthwise_separable and i > 0,
                    bias=self.norm == "none",
                ),
                *norm_of_channels(self.norm, channels),
                nn.ReLU(),
            ]
            c_in = channels
        dropout = [Dropout(self.dropout)] if self.dropout > 0 else []
        return nn.Sequential(*layers, GlobalAveragePool(), *dropout, nn.Linear(c_in, outputs))
