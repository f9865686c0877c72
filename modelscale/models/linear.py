"""The linear model."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn


class Linear(ModelSpec):
    """One linear layer; with cross-entropy this is logistic regression.

    Inputs of more than one dimension are flattened first.
    """

    takes: ClassVar[tuple[Form, ...]] = ("vector", "image", "series")

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from torch import nn

        flatten = [nn.Flatten()] if len(inputs.shape) > 1 else []
        return nn.Sequential(*flatten, nn.Linear(prod(inputs.shape), outputs))
