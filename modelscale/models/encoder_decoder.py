"""The transformer that reads one text and writes another."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs, Task

if TYPE_CHECKING:
    from torch import nn

MOST_POSITIONS = 2048  # attention's memory grows with the square


class EncoderDecoder(ModelSpec):
    """An encoder of what is read and a decoder that writes (Vaswani et al., arXiv:1706.03762).

    Each block normalises its input first, positions are learnt, and the table of the symbols
    that are written also scores them. Its outputs are how surprised it was at each symbol of
    the true translation, when it knew those before (see `losses/teacher_forcing.py`).
    """

    takes: ClassVar[tuple[Form, ...]] = ("tokens",)
    tasks: ClassVar[tuple[Task, ...]] = ("translation",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    width: int = Field(128, ge=1)
    """Size of a token; a multiple of `heads`."""

    blocks: int = Field(2, ge=1)
    """Blocks of the encoder, and as many of the decoder, with feed-forward layers of 4 · width
    units."""

    heads: int = Field(4, ge=1)
    """Attention heads."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Probability with which values are left out in a training step, of the symbols' vectors
    and of what each block adds."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        return self

    def check_size(self, inputs: Inputs) -> None:
        if not inputs.written:
            raise ValueError(f"{self.own_kind()} writes texts; say task: translation")
        if inputs.shape[0] > MOST_POSITIONS:
            raise ValueError(
                f"{self.own_kind()} reads and writes at most {MOST_POSITIONS:,} symbols, not "
                f"{inputs.shape[0]:,}; set data.text.length and data.translation.length"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        """Return the network; it maps (batch, read + written) to (batch, written, 3)."""
        from modelscale.models.modules.text import SymbolsInOrder
        from modelscale.models.modules.translation import Decoder, Translator

        assert inputs.vocabulary is not None
        read = inputs.shape[0] - inputs.written
        shape = (self.width, self.blocks, self.heads, self.dropout)
        encoder = SymbolsInOrder((inputs.vocabulary, read), *shape)
        return Translator(encoder, Decoder((outputs, inputs.written), *shape))
