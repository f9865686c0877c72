"""The deep learning recommendation model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Encoding, Inputs, Task

if TYPE_CHECKING:
    from torch import nn

Units = Annotated[int, Field(ge=1)]


class Dlrm(ModelSpec):
    """Vectors of all categories and of the numbers, the products of every two, a perceptron.

    For tables with categories of many values, such as clicks with user, item and their features
    (after Naumov et al., arXiv:1906.00091; all vectors go on beside the products, and
    categories have biases). A category without training rows has zeros for its vector.
    """

    encoding: ClassVar[Encoding] = "codes"
    takes: ClassVar[tuple[Form, ...]] = ("vector",)
    tasks: ClassVar[tuple[Task, ...]] = ("classification", "regression", "ranking")
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    factors: int = Field(16, ge=1)
    """Size of each vector."""

    bottom: tuple[Units, ...] = (32,)
    """Units of the ReLU layers that the numbers go through."""

    top: tuple[Units, ...] = (64, 32)
    """Units of the ReLU layers that read vectors and products."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability with which each hidden value is left out in a training step."""

    def check_size(self, inputs: Inputs) -> None:
        if not inputs.categories:
            raise ValueError("dlrm needs a column of categories; use mlp")

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from modelscale.models.modules.towers import DotInteractions

        return DotInteractions(
            inputs, self.factors, self.bottom, self.top, outputs, self.dropout
        )
