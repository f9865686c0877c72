"""Matrix factorisation with biases."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Encoding, Inputs, Task

if TYPE_CHECKING:
    from torch import nn


class MatrixFactorisation(ModelSpec):
    """Mean, bias of the user, bias of the item, and the product of their factors.

    Reads a table of two columns of categories (Koren et al., IEEE Computer 42, 2009). A user or
    item without training rows adds nothing. `regularization.l2` counts for factors and biases;
    without it the factors learn the training rows by heart.
    """

    encoding: ClassVar[Encoding] = "codes"
    takes: ClassVar[tuple[Form, ...]] = ("vector",)
    tasks: ClassVar[tuple[Task, ...]] = ("classification", "regression", "ranking")
    per_replica: ClassVar[tuple[str, ...]] = ("dropout",)

    factors: int = Field(32, ge=1)
    """Factors of each user and of each item."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability with which the product of two factors is left out in a training step."""

    def check_size(self, inputs: Inputs) -> None:
        numbers = inputs.shape[0] - len(inputs.categories)
        if len(inputs.categories) != 2 or numbers:
            raise ValueError(
                "matrix_factorisation reads two columns of categories, such as user and item, "
                f"not {len(inputs.categories)} with {numbers} numbers; name the two as "
                "data.columns: {NAME: category} and ignore the others, or use "
                "factorisation_machine"
            )

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from modelscale.models.modules.factors import PairFactors

        return PairFactors(inputs.categories, self.factors, outputs, self.dropout)
