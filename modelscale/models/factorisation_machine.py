"""The factorisation machine, and its neural form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Encoding, Inputs, Task

if TYPE_CHECKING:
    from torch import nn

Units = Annotated[int, Field(ge=1)]


class FactorisationMachine(ModelSpec):
    """A linear model plus the products of every two features' factors (Rendle, ICDM 2010).

    For tables with categories of many values: users and items with what is known of them. With
    `hidden` layers over the products it is a neural factorisation machine (He & Chua,
    arXiv:1708.05027). A category without training rows adds nothing.
    """

    encoding: ClassVar[Encoding] = "codes"
    takes: ClassVar[tuple[Form, ...]] = ("vector",)
    tasks: ClassVar[tuple[Task, ...]] = ("classification", "regression", "ranking")
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    factors: int = Field(16, ge=1)
    """Factors of each feature, for each output where there are no hidden layers."""

    hidden: tuple[Units, ...] = ()
    """Units of ReLU layers over the products; empty adds the products up."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability with which each product or hidden value is left out in a training step."""

    def check_size(self, inputs: Inputs) -> None:
        if inputs.shape[0] < 2:
            raise ValueError("factorisation_machine needs two features or more; use linear")

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.dropout import Dropout
        from modelscale.models.modules.factors import FeatureFactors

        layers: list[nn.Module] = []
        width = self.factors
        for units in self.hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            layers += [Dropout(self.dropout)] if self.dropout > 0 else []
            width = units
        if layers:  # the mean is the output's bias already
            layers.append(nn.Linear(width, outputs, bias=False))
        return FeatureFactors(
            numbers=inputs.shape[0] - len(inputs.categories),
            categories=inputs.categories,
            factors=self.factors if layers else self.factors * outputs,
            outputs=outputs,
            layers=layers,
            dropout=self.dropout,
        )
