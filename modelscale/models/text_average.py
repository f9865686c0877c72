"""Averaged embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

Units = Annotated[int, Field(ge=1)]


class TextAverage(ModelSpec):
    """The mean of a text's word vectors, then a linear layer (Joulin et al., arXiv:1607.01759).

    Order counts for nothing, except by pairs of words as symbols (`words` tokenizer).
    """

    takes: ClassVar[tuple[Form, ...]] = ("tokens",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    width: int = Field(64, ge=1)
    """Size of a symbol's vector."""

    hidden: tuple[Units, ...] = ()
    """Units of ReLU layers between the mean and the output."""

    weighted: bool = True
    """Whether each symbol's share in the mean is learnt."""

    dropout: float = Field(0.3, ge=0, lt=1)
    """Probability with which each averaged or hidden value is left out in a training step."""

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.dropout import Dropout
        from modelscale.models.modules.text import WeightedAverage

        assert inputs.vocabulary is not None
        drop = self.dropout > 0
        layers: list[nn.Module] = [
            WeightedAverage(inputs.vocabulary, self.width, 0.1, self.weighted)
        ]
        layers += [Dropout(self.dropout)] if drop else []
        width = self.width
        for units in self.hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            layers += [Dropout(self.dropout)] if drop else []
            width = units
        return nn.Sequential(*layers, nn.Linear(width, outputs))
