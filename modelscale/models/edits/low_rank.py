"""Layers as products of two thinner ones."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.models.edits.base import EditSpec
from modelscale.spec.base import Spec

if TYPE_CHECKING:
    from torch import nn


class Factored(Spec):
    """A layer that was replaced by two."""

    layer: str
    """Path of a linear layer or an ungrouped convolution in the network."""

    rank: int = Field(ge=1)
    """Features or channels between the two."""


class LowRank(EditSpec):
    """Linear layers and convolutions as two in turn, with the best ones of that rank.

    A convolution becomes one of the same kernel with fewer channels, then a 1×1 convolution.
    """

    factored: tuple[Factored, ...] = ()
    """The layers."""

    def apply(self, network: nn.Module) -> nn.Module:
        from modelscale.models.modules.replacing import factored, replace_layer

        for entry in self.factored:
            replace_layer(network, entry.layer, partial(factored, rank=entry.rank))
        return network
