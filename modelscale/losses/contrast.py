"""Contrastive pre-training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.losses._pretext import PretextLoss
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

    from modelscale.losses.modules.pretext import Draw


class Contrast(PretextLoss):
    """Pre-training on images and series: views of one example are told from views of others.

    SimCLR's NT-Xent (Chen et al., arXiv:2002.05709) with a linear projection as the output
    layer. Images are zoomed into, moved, turned and shaded; series are scaled, get noise and
    lose a stretch of steps. Each example is seen twice; in training all examples of a batch are
    told apart, so that large batches are harder; in evaluation 32 at a time.
    """

    temperature: float = Field(0.5, gt=0, le=10)
    """Cosines are divided by it: smaller makes near examples count more."""

    strength: float = Field(0.5, gt=0, le=1)
    """How much views differ: at 1 an image may be zoomed into by 2.5, turned by 30 degrees and
    shaded by 0.6 deviations, and half the steps of a series are hidden."""

    flip: bool = False
    """Whether images may be mirrored left to right."""

    size: int = Field(64, ge=2)
    """Numbers that views are compared by; the output layer, drawn anew when fine-tuning."""

    def outputs(self, targets: int) -> int:
        return self.size

    def pretext(self, network: nn.Module, inputs: Inputs, draw: Draw) -> nn.Module:
        from modelscale.losses.modules.contrast import Contrast as Game

        if inputs.vocabulary is not None or len(inputs.shape) not in (2, 3):
            raise ValueError("contrast is for images and series")
        return Game(network, draw, self.temperature, self.strength, self.flip)
