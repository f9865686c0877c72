"""The multi-layer perceptron."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from modelscale.models.base import Form, ModelSpec
from modelscale.models.numeric.base import NumericSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

Units = Annotated[int, Field(ge=1)]


class Mlp(ModelSpec):
    """Fully connected layers, each with norm, activation and dropout, and a linear output.

    Inputs of more than one dimension are flattened first.
    """

    takes: ClassVar[tuple[Form, ...]] = ("vector", "image", "series")
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)
    widths: ClassVar[tuple[str, ...]] = ("hidden",)

    hidden: tuple[Units, ...] = (128, 128)
    """Units of each hidden layer; empty makes a linear model."""

    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """Nonlinearity after each hidden layer."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability with which each hidden unit is left out in a training step."""

    norm: Literal["none", "layer", "batch"] = "none"
    """Normalisation before the activation: over an example's units, or over the batch."""

    members: int = Field(1, ge=1)
    """Networks in one that share their weights and differ by scales of each layer's inputs and
    outputs; their mean answers (TabM, arXiv:2410.24210). 1 is a plain network."""

    numeric: SerializeAsAny[NumericSpec] | None = None
    """How numbers of a table become several inputs each; by default they stay one."""

    @model_validator(mode="after")
    def _members_have_no_batch_norm(self) -> Self:
        if self.members > 1 and self.norm == "batch":
            raise ValueError("members have no statistics of their own: norm none or layer")
        return self

    def quantile_bins(self) -> int:
        return 0 if self.numeric is None else self.numeric.quantile_bins()

    def layer_widths(self) -> tuple[int, ...]:
        return () if self.norm == "layer" else self.hidden  # it is over all units of a layer

    def widened(self, widths: tuple[int, ...]) -> Self:
        return self.model_copy(update={"hidden": widths}) if widths else self

    def check_size(self, inputs: Inputs) -> None:
        if self.numeric is not None and not inputs.quantiles:
            raise ValueError("numeric needs a table with numbers; leave it out")

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.dropout import Dropout
        from modelscale.models.modules.layers import activation, norm_of_units

        layers: list[nn.Module] = [nn.Flatten()] if len(inputs.shape) > 1 else []
        width = prod(inputs.shape)
        if self.numeric is not None:
            from modelscale.models.modules.numbers import numeric_inputs

            embedding, width = numeric_inputs(self.numeric, inputs)
            layers.append(embedding)
        for units in self.hidden:
            layers += [
                nn.Linear(width, units, bias=self.norm == "none"),
                *norm_of_units(self.norm, units),
                activation(self.activation),
            ]
            if self.dropout > 0:
                layers.append(Dropout(self.dropout))
            width = units
        layers.append(nn.Linear(width, outputs))
        if self.members > 1:
            from modelscale.models.modules.members import Members

            return Members(layers, self.members)
        return nn.Sequential(*layers)
