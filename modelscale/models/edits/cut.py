"""The cut: positions of weights that were removed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import Field

from modelscale.models.edits.base import EditSpec
from modelscale.spec.base import Spec

if TYPE_CHECKING:
    from torch import Tensor, nn

Value: TypeAlias = int | float | tuple[int | None, ...]


class Kept(Spec):
    """What is left of some dimensions that were cut alike."""

    positions: str
    """Numbers from 0 and ranges with both ends, in order: `0 2-5 7`."""

    tensors: tuple[str, ...]
    """Parameters and buffers, each with the dimension: `0.weight:1`."""


class NodeChange(Spec):
    """Constants of one operator of an exported graph."""

    node: str
    """Name of the node in the graph."""

    operator: str
    """What the node runs before the change, to be sure that the graph is the same."""

    arguments: dict[str, Value]
    """New constants by the argument's name; null in a list leaves an entry alone."""

    becomes: Literal["itself", "split_with_sizes", "index_select"] = "itself"
    """The operator after the change."""


class Example(Spec):
    """What one input of a network looks like."""

    shape: tuple[int, ...]
    """With the batch."""

    dtype: Literal["float32", "float64", "bfloat16", "float16", "int64", "int32", "bool"]
    """Type of its values."""


class Rewriting(Spec):
    """How to run a network whose own code has sizes written into it."""

    inputs: tuple[Example, ...]
    """What to export the network with."""

    changes: tuple[NodeChange, ...]
    """Constants of the exported graph that are other ones after the cut."""


class Cut(EditSpec):
    """Channels, heads or hidden units that were removed from every tensor that had them."""

    kept: tuple[Kept, ...] = ()
    """What is left of each tensor that was cut."""

    settings: dict[str, int | tuple[int, ...]] = Field(default_factory=dict)
    """Sizes that modules keep as attributes and that no weight tells: `blocks.0.heads`."""

    rewriting: Rewriting | None = None
    """For a network whose own forward code cannot run at other sizes: its graph instead. Such
    a graph always computes as in evaluation: no dropout, running statistics."""

    @property
    def rewritten(self) -> bool:
        """Whether the network runs as a rewritten graph, not by its own code."""
        return self.rewriting is not None

    def apply(self, network: nn.Module) -> nn.Module:
        from modelscale.models.modules.exported import export_graph, rewrite
        from modelscale.models.modules.slicing import assign, slice_tensors

        if self.rewriting is None:
            slice_tensors(network, self.kept)
            assign(network, self.settings)
            return network
        graph = export_graph(network, examples_of(self.rewriting))
        slice_tensors(network, self.kept)
        return rewrite(graph, network, self.rewriting.changes)


def examples_of(rewriting: Rewriting) -> tuple[Tensor, ...]:
    """Return inputs of zeros that a network can be exported with."""
    import torch

    return tuple(torch.zeros(e.shape, dtype=getattr(torch, e.dtype)) for e in rewriting.inputs)
