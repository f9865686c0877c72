"""Convolutions as a depthwise and a pointwise one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.models.edits.base import EditSpec

if TYPE_CHECKING:
    from torch import nn


class Separable(EditSpec):
    """Convolutions as a filter for each channel, then a 1×1 convolution.

    Each input channel's kernels, one for each output channel, are replaced by the nearest
    matrix of rank one: a filter that all share times a factor each.
    """

    layers: tuple[str, ...] = ()
    """Paths of ungrouped convolutions in the network."""

    def apply(self, network: nn.Module) -> nn.Module:
        from modelscale.models.modules.replacing import replace_layer, separated

        for layer in self.layers:
            replace_layer(network, layer, separated)
        return network
