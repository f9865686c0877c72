"""Masked values of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.losses._pretext import PretextLoss
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

    from modelscale.losses.modules.pretext import Draw


class MaskedValues(PretextLoss):
    """Pre-training on tables: hidden values are told from the others of their row.

    A hidden number becomes its mean and a hidden category a missing one, as in a denoising
    autoencoder (Vincent et al., ICML 2008).
    """

    rate: float = Field(0.3, gt=0, lt=1)
    """Probability with which a value is hidden."""

    def pretext(self, network: nn.Module, inputs: Inputs, draw: Draw) -> nn.Module:
        from modelscale.losses.modules.pretext import MaskedValues as Game

        if inputs.vocabulary is not None or len(inputs.shape) != 1:
            raise ValueError("masked_values is for tables")
        return Game(network, draw, self.rate, inputs.categories)
