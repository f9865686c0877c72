"""The family of edits: what was done to a network after it had been built."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelscale.components import Component

if TYPE_CHECKING:
    from torch import nn


class EditSpec(Component):
    """A change of a network's architecture, as data.

    A checkpoint keeps the spec that its network was built from and the edits that followed, so
    that it loads without the network that the edits were made on.
    """

    @abstractmethod
    def apply(self, network: nn.Module) -> nn.Module:
        """Return the edited network.

        Values that are still there are kept; a checkpoint's weights are loaded afterwards.

        Args:
            network: As its spec builds it, or as the edit before left it. It may be changed
                and must not be used any more.

        Raises:
            ValueError: If the edit was made for another network.
        """


def edited(network: nn.Module, edits: Iterable[EditSpec]) -> nn.Module:
    """Return a freshly built network after all edits, in their order.

    Raises:
        ValueError: If an edit was made for another network.
    """
    for edit in edits:
        network = edit.apply(network)
    return network
