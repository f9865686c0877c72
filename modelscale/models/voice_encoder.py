"""The recurrent network that tells voices apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

MOST_FRAMES = 1024  # they are gone through one by one


class VoiceEncoder(ModelSpec):
    """Layers of LSTM whose last state becomes a direction (Wan et al., arXiv:1710.10467).

    It reads powers of bands rather than their logarithms. As `model: {from: voice_encoder}` it
    begins with weights that tell speakers apart; from random weights `ds_cnn` learns faster.
    """

    takes: ClassVar[tuple[Form, ...]] = ("image",)

    width: int = Field(256, ge=1)
    """Units of a layer, and of the direction."""

    layers: int = Field(3, ge=1, le=8)
    """Layers."""

    def check_size(self, inputs: Inputs) -> None:
        if inputs.shape[0] != 1:
            raise ValueError(f"{self.own_kind()} reads one channel, not {inputs.shape[0]}")
        if inputs.shape[2] > MOST_FRAMES:
            raise ValueError(
                f"{self.own_kind()} reads at most {MOST_FRAMES:,} frames, not "
                f"{inputs.shape[2]:,}; set seconds of the source, or ds_cnn reads more"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from modelscale.models.modules.voice import Voice

        return Voice(inputs.shape[1], self.width, self.layers, outputs)
