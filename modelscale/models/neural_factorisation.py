"""Neural matrix factorisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Encoding, Inputs, Task

if TYPE_CHECKING:
    from torch import nn

Units = Annotated[int, Field(ge=1)]


class NeuralFactorisation(ModelSpec):
    """Products of factors beside a perceptron on vectors of user and item, with biases.

    Reads a table of two columns of categories (NeuMF; He et al., arXiv:1708.05031). A user or
    item without training rows has zeros for its vectors.
    """

    encoding: ClassVar[Encoding] = "codes"
    takes: ClassVar[tuple[Form, ...]] = ("vector",)
    tasks: ClassVar[tuple[Task, ...]] = ("classification", "regression", "ranking")
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    factors: int = Field(16, ge=1)
    """Factors of each user and item for the product, and as many for the perceptron."""

    hidden: tuple[Units, ...] = (32, 16)
    """Units of the perceptron's ReLU layers."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability with which products, vectors and hidden values are left out in a training
    step."""

    def check_size(self, inputs: Inputs) -> None:
        numbers = inputs.shape[0] - len(inputs.categories)
        if len(inputs.categories) != 2 or numbers:
            raise ValueError(
                "neural_factorisation reads two columns of categories, such as user and item, "
                f"not {len(inputs.categories)} with {numbers} numbers; name the two as "
                "data.columns: {NAME: category} and ignore the others, or use dlrm"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from modelscale.models.modules.towers import NeuralPair

        return NeuralPair(inputs.categories, self.factors, self.hidden, outputs, self.dropout)
