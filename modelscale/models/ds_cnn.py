"""The depthwise-separable network for keywords."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn


class DsCnn(ModelSpec):
    """One convolution, then depthwise-separable ones, for short recordings.

    (Zhang et al., Hello Edge, arXiv:1711.07128.) The answer is read from the mean over a
    recording's own frames: those that are 0 in all bands count for nothing.
    """

    takes: ClassVar[tuple[Form, ...]] = ("image",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    width: int = Field(64, ge=1)
    """Channels of every convolution."""

    blocks: int = Field(4, ge=0)
    """Depthwise convolutions of 3×3 with the pointwise ones after them."""

    dropout: float = Field(0.2, ge=0, lt=1)
    """Probability with which each averaged channel is left out in a training step."""

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from modelscale.models.modules.speech import Keywords

        return Keywords(inputs.shape[0], self.width, self.blocks, self.dropout, outputs)
