"""The convolutional network that writes what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs, Task

if TYPE_CHECKING:
    from torch import nn


class CtcConv(ModelSpec):
    """Convolutions over time that score every symbol in every second frame.

    Residual blocks of a depthwise and a pointwise convolution, in the manner of QuartzNet
    (Kriman et al., arXiv:1910.10261). Behind a recording's end, where all bands are 0, the
    blank is certain.
    """

    takes: ClassVar[tuple[Form, ...]] = ("image",)
    tasks: ClassVar[tuple[Task, ...]] = ("transcription",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    width: int = Field(96, ge=1)
    """Channels of every convolution."""

    blocks: int = Field(4, ge=0)
    """Residual blocks."""

    kernel: int = Field(11, ge=1)
    """Frames that a block's convolution looks at; odd."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Probability with which each value of a block is left out in a training step."""

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        return kernel

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        """Return the network; it maps (batch, 1, bands, T) to (batch, ceil(T / 2), outputs)."""
        from modelscale.models.modules.speech import Writer

        channels, bands, _ = inputs.shape
        features = channels * bands
        return Writer(features, self.width, self.blocks, self.kernel, self.dropout, outputs)
