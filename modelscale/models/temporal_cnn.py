"""Dilated convolutions over series."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn


class TemporalCnn(ModelSpec):
    """Residual convolutions that look ever further apart (Bai et al., arXiv:1803.01271)."""

    takes: ClassVar[tuple[Form, ...]] = ("series",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    width: int = Field(64, ge=1)
    """Channels of each layer."""

    blocks: int = Field(4, ge=1, le=16)
    """Residual blocks; block i looks 2^i steps apart, counted from 0."""

    kernel: int = Field(3, ge=1)
    """Steps that a convolution sees; odd."""

    stride: int = Field(1, ge=1)
    """Steps that the first convolution moves on; 4 makes long series four times shorter."""

    pooling: Literal["average", "max", "last"] = "average"
    """What the answer is read from: the mean or the largest of all steps, or the last one."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Probability with which values are left out in a training step, of what a block adds."""

    @field_validator("kernel")
    @classmethod
    def _has_a_middle(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        return kernel

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from modelscale.models.modules.series import DilatedBlock
        from modelscale.models.modules.series import TemporalCnn as Network

        blocks = [
            DilatedBlock(self.width, self.kernel, 1 << i, self.dropout)
            for i in range(self.blocks)
        ]
        return Network(
            inputs.shape[0],
            self.width,
            self.stride,
            blocks,
            self.kernel,
            self.pooling,
            outputs,
        )
