"""The sampler family."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from modelscale.components import Component

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class SamplerSpec(Component):
    """How a search proposes its next trials."""

    learns: ClassVar[bool] = False
    """Whether proposals depend on finished trials, so that large batches cost quality."""

    @abstractmethod
    def build(self, seed: int) -> BaseSampler:
        """Return Optuna's sampler.

        Args:
            seed: Of the proposals; the caller derives one for each batch of trials, so that
                an interrupted search goes on as if it had not been.
        """
