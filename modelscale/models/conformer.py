"""The network of attention and convolution that writes what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs, Task

if TYPE_CHECKING:
    from torch import nn

MOST_FRAMES = 4096  # attention's memory grows with the square of half of them


class Conformer(ModelSpec):
    """Blocks of attention and convolution over time (Gulati et al., arXiv:2005.08100).

    They score every symbol in every second frame. Attention knows distances between frames by
    a learnt number for each up to 32, and norms are over channels rather than over the batch.
    """

    takes: ClassVar[tuple[Form, ...]] = ("image",)
    tasks: ClassVar[tuple[Task, ...]] = ("transcription",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    width: int = Field(96, ge=1)
    """Size of a frame; a multiple of `heads`."""

    blocks: int = Field(2, ge=1)
    """Blocks, each with two layers of 4 · width units, attention and a convolution."""

    heads: int = Field(4, ge=1)
    """Attention heads."""

    kernel: int = Field(15, ge=1)
    """Frames that a block's convolution looks at; odd."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Probability with which values that a block adds are left out in a training step."""

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        return kernel

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        return self

    def check_size(self, inputs: Inputs) -> None:
        if inputs.shape[-1] > MOST_FRAMES:
            raise ValueError(
                f"{self.own_kind()} reads at most {MOST_FRAMES:,} frames, not "
                f"{inputs.shape[-1]:,}; set data.audio.step_ms"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        """Return the network; it maps (batch, 1, bands, T) to (batch, ceil(T / 2), outputs)."""
        from torch import nn

        from modelscale.models.modules.conformer import ConformerBlock, ConformerWriter

        features = inputs.shape[0] * inputs.shape[1]
        first = nn.Conv1d(features, self.width, 5, stride=2, padding=2)
        shape = (self.width, self.heads, self.kernel, self.dropout)
        blocks: list[nn.Module] = [ConformerBlock(*shape) for _ in range(self.blocks)]
        return ConformerWriter(first, blocks, outputs)
