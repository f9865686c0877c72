"""What can be removed from a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.fx import GraphModule

    from modelscale.pruning.graph.atoms import Axes
    from modelscale.pruning.graph.flow import Flow
    from modelscale.pruning.graph.roles import AttentionCut
    from modelscale.pruning.graph.units import Declined, Group


@dataclass(frozen=True)
class Traced:
    """A network's graph after it was followed; the weights' values play no part.

    Attributes:
        graph: The exported network.
        flow: The atoms of each tensor of the graph.
        weights: The axes of each parameter and buffer, by name.
        roots: For each group by name, the atom (U,) that each unit is.
    """

    graph: GraphModule
    flow: Flow
    weights: dict[str, Axes]
    roots: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Structure:
    """The units of a network; it stays true while the network's shapes stay.

    Attributes:
        groups: Units that are alike, in the network's order.
        declined: What is left whole since an operator is not understood, and why.
        examples: Inputs that the network was followed with.
        traced: What cuts are worked out from; None where the network does not export, whose
            groups, if any, are those of `fallback.py`.
    """

    groups: tuple[Group, ...]
    declined: tuple[Declined, ...]
    examples: tuple[Tensor, ...] = field(repr=False)
    traced: Traced | None = field(repr=False, default=None)

    def group(self, name: str) -> Group:
        """Return the group of that name.

        Raises:
            ValueError: If there is none.
        """
        from modelscale.errors import did_you_mean

        for group in self.groups:
            if group.name == name:
                return group
        known = [group.name for group in self.groups]
        raise ValueError(f"no group of units is called {name!r}{did_you_mean(name, known)}")


def find_units(
    network: nn.Module,
    examples: tuple[Tensor, ...],
    *,
    attention: AttentionCut = "heads",
    prove: bool = True,
) -> Structure:
    """Return what can be removed from a network, by following its exported graph.

    Inputs and outputs keep their shapes. An operator that is not known keeps everything that
    it touches whole and is named in `declined`. A network that cannot be exported is followed
    by Torch-Pruning, where that is installed, and always tried out.

    Args:
        network: Any module; it is left as it is.
        examples: Its positional inputs, the batch first; two examples are enough.
        attention: Whether attention is to lose whole heads, or all heads of a layer to get
            smaller alike.
        prove: Whether to try a cut of every group on a copy (see `proof.py`) and to leave out
            what turns out wrong.
    """
    from modelscale.models.modules.exported import export_graph
    from modelscale.pruning.fallback import fallback_units
    from modelscale.pruning.graph.analysis import follow
    from modelscale.pruning.graph.units import find
    from modelscale.pruning.proof import proved

    try:
        graph = export_graph(network, examples)
    except ValueError as error:
        groups, declined = fallback_units(network, examples, str(error))
        return proved(network, Structure(groups, declined, examples))
    flow, weights = follow(graph, attention)
    found = find(flow, weights)
    traced = Traced(graph, flow, weights, found.roots)
    structure = Structure(found.groups, found.declined, examples, traced)
    return proved(network, structure) if prove else structure
