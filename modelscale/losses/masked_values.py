"""Masked values of a table or a series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.losses._pretext import PretextLoss
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

    from modelscale.losses.modules.pretext import Draw


class MaskedValues(PretextLoss):
    """Pre-training on tables and series: hidden values are told from the others.

    A hidden number becomes its mean and a hidden category a missing one, as in a denoising
    autoencoder (Vincent et al., ICML 2008). Of a series, stretches of a tenth of its window are
    hidden, in all channels at once.
    """

    rate: float = Field(0.3, gt=0, lt=1)
    """Probability with which a value or a stretch is hidden."""

    def pretext(self, network: nn.Module, inputs: Inputs, draw: Draw) -> nn.Module:
        from modelscale.losses.modules.pretext import MaskedSteps
        from modelscale.losses.modules.pretext import MaskedValues as Game

        if inputs.vocabulary is not None or len(inputs.shape) > 2:
            raise ValueError("masked_values is for tables and series")
        if len(inputs.shape) == 2:
            return MaskedSteps(network, draw, self.rate)
        return Game(network, draw, self.rate, inputs.categories)
