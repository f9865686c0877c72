"""Weights that are held at zero while the others are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.models.edits.base import EditSpec

if TYPE_CHECKING:
    from torch import nn


class Masked(EditSpec):
    """Weights with a mask that they are multiplied with whenever they are used.

    What is trained is the layer's `parametrizations.<weight>.original`, and the mask is the
    buffer `parametrizations.<weight>.0.mask`.
    """

    tensors: tuple[str, ...] = ()
    """Names of the parameters that are masked."""

    def apply(self, network: nn.Module) -> nn.Module:
        from modelscale.models.modules.mask import mask_tensor

        named = dict(network.named_parameters())
        for name in self.tensors:
            if name not in named:
                raise ValueError(f"no parameter is called {name!r}")
            mask_tensor(network, name)
        return network
