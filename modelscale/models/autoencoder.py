"""Autoencoders of tables, to find rows that are unlike the others."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

Units = Annotated[int, Field(ge=1)]


class Autoencoder(ModelSpec):
    """Makes a row again from a code of few numbers; the mean absolute error is its score.

    It is for `task: anomaly`, where labels teach nothing.
    """

    takes: ClassVar[tuple[Form, ...]] = ("vector",)
    reconstructs: ClassVar[bool] = True

    hidden: tuple[Units, ...] = (16,)
    """Units of the layers before the code; those behind it mirror them."""

    code: int = Field(2, ge=1)
    """Numbers of the code; fewer than the inputs, or everything could be copied."""

    squeeze: float = Field(3.0, ge=0)
    """Inputs are asinh(squeeze · x), so that a few far values don't rule; 0 takes x itself."""

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from torch import nn

        from modelscale.models.modules.reconstruction import Autoencoder as Network

        widths = (inputs.shape[0], *self.hidden, self.code)
        both = (*widths, *widths[-2::-1])
        layers: list[nn.Module] = []
        for c_in, c_out in pairwise(both):
            layers += [nn.Linear(c_in, c_out), nn.GELU()]
        return Network(nn.Sequential(*layers[:-1]), self.squeeze)
