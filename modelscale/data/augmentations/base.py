"""The augmentation family."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from modelscale.components import Component

if TYPE_CHECKING:
    from torch import Tensor


class AugmentationSpec(Component):
    """A random change to each training example, a pure function of (seed, epoch, example).

    The trainer hands in uniform random numbers that depend on nothing else, so a result does
    not depend on the batch, the worker or the replica's neighbours.
    """

    form: ClassVar[Literal["images", "texts", "series", "recordings"]] = "images"
    """What it changes."""

    draws: ClassVar[int]
    """Uniform random numbers that one example takes."""

    mixes: ClassVar[bool] = False
    """Whether an example is blended with another one (see `blend`)."""

    @abstractmethod
    def apply(self, x: Tensor, uniform: Tensor) -> Tensor:
        """Return the changed examples.

        Args:
            x: (batch, channels, height, width) or, for texts, (batch, positions) or, for
                series, (batch, channels, positions) float32, whose last channel is 1 at each
                step and 0 in the padding behind the last one; for recordings
                (batch, 1, bands, frames), exactly 0 behind the end.
            uniform: (batch, draws) float32 in [0, 1).
        """

    def blend(self, uniform: Tensor) -> Tensor:
        """Return the share (batch,) that each example keeps when it is mixed with another."""
        raise AssertionError(f"{self.own_kind()} does not mix examples")
