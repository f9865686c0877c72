"""The transformer over features or symbols."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Encoding, Inputs

if TYPE_CHECKING:
    from torch import nn

MOST_TOKENS = 512  # attention's memory grows with the square


class FtTransformer(ModelSpec):
    """FT-Transformer: every feature of a table is a token (Gorishniy et al., arXiv:2106.11959).

    The answer is read from a token of its own, after pre-norm blocks. Pixels of an image count
    as features; for texts the tokens are the symbols with learned positions.
    """

    encoding: ClassVar[Encoding] = "codes"
    takes: ClassVar[tuple[Form, ...]] = ("vector", "image", "tokens")
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)
    widths: ClassVar[tuple[str, ...]] = ("width",)

    width: int = Field(64, ge=1)
    """Size of a token; a multiple of `heads`."""

    blocks: int = Field(3, ge=1)
    """Blocks of attention and a feed-forward layer of 2 · width units."""

    heads: int = Field(8, ge=1)
    """Attention heads."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Probability with which values are left out in a training step, in the feed-forward
    layers and in what attention adds."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        return self

    def check_size(self, inputs: Inputs) -> None:
        if prod(inputs.shape) > MOST_TOKENS:
            raise ValueError(
                f"ft_transformer reads at most {MOST_TOKENS} features or positions, not "
                f"{prod(inputs.shape)}"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.tokens import FeatureTokens, SymbolTokens
        from modelscale.models.modules.transformer import Block, Transformer

        tokens: nn.Module
        if inputs.vocabulary is not None:
            tokens = SymbolTokens(inputs.vocabulary, inputs.shape[0], self.width)
        else:
            numbers = prod(inputs.shape) - len(inputs.categories)
            tokens = FeatureTokens(numbers, inputs.categories, self.width)
            if len(inputs.shape) > 1:
                tokens = nn.Sequential(nn.Flatten(), tokens)
        blocks: list[nn.Module] = [
            # Without a norm before the very first attention it trains better (section 3.3).
            Block(self.width, self.heads, self.dropout, norm_first=i > 0)
            for i in range(self.blocks)
        ]
        return Transformer(tokens, self.width, blocks, outputs)
