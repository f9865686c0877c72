"""Turned images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.losses._pretext import PretextLoss
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

    from modelscale.losses.modules.pretext import Draw


class Rotation(PretextLoss):
    """Pre-training on square images: by how many quarters one was turned (arXiv:1803.07728).

    Each example is seen in all four positions, so that a step costs four times as much.
    """

    def outputs(self, targets: int) -> int:
        return 4

    def pretext(self, network: nn.Module, inputs: Inputs, draw: Draw) -> nn.Module:
        from modelscale.losses.modules.pretext import Rotated

        if len(inputs.shape) != 3 or inputs.shape[1] != inputs.shape[2]:
            raise ValueError("rotation is for square images")
        return Rotated(network, draw)
