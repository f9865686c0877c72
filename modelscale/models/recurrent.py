"""Recurrent networks over series."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

MOST_STEPS = 1024  # they are gone through one by one


class Recurrent(ModelSpec):
    """Gated units that carry a state from step to step.

    (GRU: Cho et al., arXiv:1406.1078; LSTM: Hochreiter & Schmidhuber, 1997.)
    """

    takes: ClassVar[tuple[Form, ...]] = ("series",)
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    cell: Literal["gru", "lstm"] = "gru"
    """The units."""

    width: int = Field(64, ge=1)
    """Units of a layer in each direction."""

    layers: int = Field(1, ge=1, le=8)
    """Layers."""

    bidirectional: bool = True
    """Whether the series is also read from its end."""

    pooling: Literal["average", "max", "last"] = "last"
    """What the answer is read from: the last state, or the mean or largest of all."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Probability with which values of a layer's states are left out in a training step."""

    def check_size(self, inputs: Inputs) -> None:
        if inputs.shape[1] > MOST_STEPS:
            raise ValueError(
                f"recurrent reads at most {MOST_STEPS:,} steps, not {inputs.shape[1]:,}; "
                "temporal_cnn reads more"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from modelscale.models.modules.series import Gates
        from modelscale.models.modules.series import Recurrent as Network

        directions = (False, True) if self.bidirectional else (False,)
        wide = self.width * len(directions)
        layers = [
            [
                Gates(wide if place else inputs.shape[0], self.width, self.cell, backwards)
                for backwards in directions
            ]
            for place in range(self.layers)
        ]
        return Network(layers, self.pooling, self.dropout, outputs)
