"""Series with noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from modelscale.data.augmentations import _steps
from modelscale.data.augmentations.base import AugmentationSpec

if TYPE_CHECKING:
    from torch import Tensor


class Jitter(AugmentationSpec):
    """Add normal noise to every value of a series (Um et al., arXiv:1706.00527)."""

    form: ClassVar[Literal["images", "texts", "series"]] = "series"
    draws: ClassVar[int] = 1

    std: float = Field(0.05, ge=0)
    """Deviation of the noise, in deviations of the training part (after scaling)."""

    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        count = x[0].numel()
        noise = _steps.normal(uniform[:, 0], count).view(x.shape) * self.std
        return x + noise * _steps.measured(x) * x[:, -1:]
