"""Convolutions over the words of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

Kernel = Annotated[int, Field(ge=1)]


class TextCnn(ModelSpec):
    """Filters over a few symbols in a row; the strongest answer of each counts.

    (Kim, arXiv:1408.5882.)
    """

    takes: ClassVar[tuple[Form, ...]] = ("tokens",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    width: int = Field(64, ge=1)
    """Size of a symbol's vector."""

    kernels: tuple[Kernel, ...] = Field((3, 4, 5), min_length=1)
    """Symbols in a row that filters look at."""

    filters: int = Field(64, ge=1)
    """Filters of each width."""

    dropout: float = Field(0.5, ge=0, lt=1)
    """Probability with which each filter's answer is left out in a training step."""

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.dropout import Dropout
        from modelscale.models.modules.text import Windows

        assert inputs.vocabulary is not None
        windows = Windows(inputs.vocabulary, self.width, self.kernels, self.filters)
        dropout = [Dropout(self.dropout)] if self.dropout > 0 else []
        answers = self.filters * len(self.kernels)
        return nn.Sequential(windows, *dropout, nn.Linear(answers, outputs))
