"""Autoencoders of series, to find windows that are unlike the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, field_validator

from modelscale.models.base import Form, ModelSpec
from modelscale.tensors import Inputs

if TYPE_CHECKING:
    from torch import nn

Channels = Annotated[int, Field(ge=1)]


class SeriesAutoencoder(ModelSpec):
    """Makes a window again from a narrow code; the mean absolute error is its score.

    It is for `task: anomaly`, where labels teach nothing.
    """

    takes: ClassVar[tuple[Form, ...]] = ("series",)
    reconstructs: ClassVar[bool] = True

    channels: tuple[Channels, ...] = Field((32, 32), min_length=1)
    """Channels of the convolutions down to the code; each halves the positions."""

    kernel: int = Field(5, ge=1)
    """Steps that a convolution sees; odd."""

    code: int = Field(4, ge=1)
    """Numbers of the code at each of its positions."""

    squeeze: float = Field(0.0, ge=0)
    """Inputs are asinh(squeeze · x), so that a few far values don't rule; 0 takes x itself."""

    @field_validator("kernel")
    @classmethod
    def _has_a_middle(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        return kernel

    def build(self, inputs: Inputs, outputs: int) -> nn.Module:
        from modelscale.models.modules.reconstruction import SeriesAutoencoder as Network

        return Network(inputs.shape[0], self.channels, self.kernel, self.code, self.squeeze)
