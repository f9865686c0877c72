"""Weights of which most are zero and only the others are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.models.edits.base import EditSpec

if TYPE_CHECKING:
    from torch import nn


class Sparse(EditSpec):
    """Weights that are stored as a bit for each number and the values that are not zero.

    The network is the same dense one; only its file is smaller.
    """

    tensors: tuple[str, ...] = ()
    """Names of the parameters that are stored so."""

    def apply(self, network: nn.Module) -> nn.Module:
        named = dict(network.named_parameters())
        missing = [name for name in self.tensors if name not in named]
        if missing:
            raise ValueError(f"no parameter is called {missing[0]!r}")
        return network
