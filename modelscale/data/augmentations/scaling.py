"""Series made larger or smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.data.augmentations import _steps
from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class Scaling(AugmentationSpec):
    """Multiply each channel of a series by its own factor (Um et al., arXiv:1706.00527)."""

    form: ClassVar[Literal["images", "texts", "series"]] = "series"
    draws: ClassVar[int] = 1

    std: float = Field(0.1, ge=0)
    """Deviation of the factors around 1."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        import torch

        factor = 1 + self.std * _steps.normal(uniform[:, 0], x.shape[1])[:, :, None]
        return torch.where(_steps.measured(x), x * factor, x)
