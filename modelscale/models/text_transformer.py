"""The transformer encoder of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

MOST_POSITIONS = 2048  # attention's memory grows with the square


class TextTransformer(ModelSpec):
    """Transformer blocks over the symbols of a text (Vaswani et al., arXiv:1706.03762).

    Positions are learnt, padding is not seen, and the answer is read from the mean.
    """

    takes: ClassVar[tuple[Form, ...]] = ("tokens",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)
    widths: ClassVar[tuple[str, ...]] = ("width",)

    width: int = Field(64, ge=1)
    """Size of a token; a multiple of `heads`."""

    blocks: int = Field(2, ge=1)
    """Blocks of attention and a feed-forward layer of 4 · width units."""

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
        if inputs.shape[0] > MOST_POSITIONS:
            raise ValueError(
                f"{self.own_kind()} reads at most {MOST_POSITIONS:,} symbols, not "
                f"{inputs.shape[0]:,}; set data.text.length"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from modelscale.models.modules.text import SymbolsInOrder, TextEncoder

        assert inputs.vocabulary is not None
        sizes = (inputs.vocabulary, inputs.shape[0])
        body = SymbolsInOrder(sizes, self.width, self.blocks, self.heads, self.dropout)
        return TextEncoder(body, self.width, outputs)
