"""Masked language modelling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.losses._pretext import PretextLoss
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

    from modelscale.losses.modules.pretext import Draw


class MaskedSymbols(PretextLoss):
    """Pre-training on texts: hidden symbols are told from the others (arXiv:1810.04805).

    One in ten of the chosen symbols is not hidden after all. `text_transformer` answers for
    each hidden place; other networks say from the whole text which symbols are missing.
    """

    rate: float = Field(0.15, gt=0, lt=1)
    """Probability with which a symbol is chosen."""

    def pretext(self, network: nn.Module, inputs: Inputs, draw: Draw) -> nn.Module:
        from modelscale.losses.modules.pretext import MaskedSymbols as Game

        if inputs.vocabulary is None:
            raise ValueError("masked_symbols is for texts")
        return Game(network, draw, self.rate)
