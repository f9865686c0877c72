"""The transformer that predicts each next symbol of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs, Task

if TYPE_CHECKING:
    from torch import nn

MOST_POSITIONS = 4096  # attention's memory grows with the square


class TextDecoder(ModelSpec):
    """A causal transformer (Radford et al., GPT-2, 2019) with tied embeddings.

    Its outputs are the nats by which it was surprised at each of the last symbols of a window.
    """

    takes: ClassVar[tuple[Form, ...]] = ("tokens",)
    tasks: ClassVar[tuple[Task, ...]] = ("language_model",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)
    widths: ClassVar[tuple[str, ...]] = ("width",)

    width: int = Field(128, ge=1)
    """Size of a token; a multiple of `heads`."""

    blocks: int = Field(4, ge=1)
    """Blocks of attention and a feed-forward layer of 4 · width units."""

    heads: int = Field(4, ge=1)
    """Attention heads."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability with which values are left out in a training step, of the symbols' vectors
    and of what each block adds."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        return self

    def check_size(self, inputs: Inputs) -> None:
        if inputs.shape[0] - 1 > MOST_POSITIONS:
            raise ValueError(
                f"{self.own_kind()} reads at most {MOST_POSITIONS:,} symbols, not "
                f"{inputs.shape[0] - 1:,}; set data.source.length"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        """Return the network; it answers for the last `outputs` symbols of a window."""
        from modelscale.models.modules.text import SymbolsInOrder
        from modelscale.models.modules.text import TextDecoder as Network

        assert inputs.vocabulary is not None
        sizes = (inputs.vocabulary, inputs.shape[0] - 1)
        body = SymbolsInOrder(sizes, self.width, self.blocks, self.heads, self.dropout)
        return Network(body, outputs)
