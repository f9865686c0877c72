"""Units of a network that does not export, found by Torch-Pruning (Fang et al., 2301.12900).

That package follows one forward pass with real values, and so takes one way through a network
whose way depends on values. What it finds is therefore taken only where every layer was
reached and is one of the plain sorts below, and, as ever, where a trial cut is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelscale.errors import missing_extra

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelscale.pruning.graph.units import Declined, Group, Member, Side

EXTRA = "prune-fallback"


def fallback_units(
    network: nn.Module, examples: tuple[Tensor, ...], reason: str
) -> tuple[tuple[Group, ...], tuple[Declined, ...]]:
    """Return the units that Torch-Pruning finds, and what stays whole and why.

    Args:
        network: That does not export; it is left as it is.
        examples: Its inputs.
        reason: Why it does not export, for the message where there are no units.
    """
    from modelscale.models.modules.exported import twin_of
    from modelscale.pruning.graph.units import Declined

    layers = {name: m for name, m in network.named_modules() if any(_own(m))}
    every = tuple(layers)
    try:
        import torch_pruning
    except ImportError:
        told = missing_extra("torch-pruning", EXTRA, "cutting it all the same")
        return (), (Declined(f"{reason}; {told}", every),)
    twin = twin_of(network).eval()
    try:
        graph = torch_pruning.DependencyGraph().build_dependency(twin, examples, verbose=False)
        found = list(graph.get_all_groups(ignored_layers=_last(twin, graph)))
    except Exception as error:  # noqa: BLE001 (whatever another library raises is a refusal)
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return (), (Declined(f"{reason}; Torch-Pruning: {first}", every),)
    seen = {id(module) for module in graph.module2node}
    missed = tuple(n for n, m in twin.named_modules() if any(_own(m)) and id(m) not in seen)
    if missed:
        why = f"{reason}; these layers were not reached, so another way through is possible"
        return (), (Declined(why, missed),)
    names = {id(module): name for name, module in twin.named_modules()}
    groups: list[Group] = []
    declined = []
    for entry in found:
        made = _group(entry, names, torch_pruning)
        if made is None:
            own = dict.fromkeys(names.get(id(d.target.module), "?") for d, _ in entry)
            declined.append(Declined("Torch-Pruning: a layer of another sort", tuple(own)))
        else:
            groups.append(made)
    return tuple(groups), tuple(declined)


def _own(module: nn.Module) -> Any:
    return (p is not None for p in module.parameters(recurse=False))


def _last(network: nn.Module, graph: Any) -> list[nn.Module]:
    """Return the layers whose outputs nothing with weights reads: the network's own outputs."""
    from torch import nn

    def read(node: Any, seen: set[int]) -> bool:
        for after in node.outputs:
            if id(after) in seen:
                continue
            seen.add(id(after))
            if any(_own(after.module)) or read(after, seen):
                return True
        return False

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    nodes = graph.module2node
    return [
        m
        for m in network.modules()
        if isinstance(m, kinds) and m in nodes and not read(nodes[m], set())
    ]


def _group(entry: Any, names: dict[int, str], library: Any) -> Group | None:
    """Return a group in our terms; None where one of its layers is of another sort."""
    from modelscale.pruning.graph.units import Group

    units = 1 + max(entry[0].root_idxs)
    members: dict[tuple[str, int], Member] = {}
    for item in entry:
        module = item.dep.target.module
        name = names.get(id(module))
        if name is None:
            if any(_own(module)):
                return None
            continue  # an operator without weights
        made = _members(item, module, name, units, library)
        if made is None:
            return None
        for member in made:
            members.setdefault((member.tensor, member.dim), member)
    first = names[id(entry[0].dep.target.module)]
    return Group(first, "channels", units, tuple(members.values()), ())


def _members(
    item: Any, module: nn.Module, name: str, units: int, library: Any
) -> list[Member] | None:
    import numpy as np
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    from modelscale.pruning.graph.units import Member

    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    plain = isinstance(module, convolutions) and module.groups == 1
    depthwise = isinstance(module, convolutions) and 1 < module.groups == module.out_channels
    if isinstance(module, _BatchNorm) or depthwise:
        places: list[tuple[str, int, Side]] = [
            (leaf, 0, "makes") for leaf in ("weight", "bias", "running_mean", "running_var")
        ]
    elif isinstance(module, nn.Linear) or plain:
        outwards = item.dep.handler in {
            library.prune_linear_out_channels,
            library.prune_conv_out_channels,
        }
        places = [("weight", 0, "makes"), ("bias", 0, "makes")]
        places = places if outwards else [("weight", 1, "reads")]
    else:
        return None if any(_own(module)) else []
    found = []
    for leaf, dim, side in places:
        tensor = getattr(module, leaf, None)
        if tensor is None:
            continue
        owner = np.full(tensor.shape[dim], -1, dtype=np.int64)
        owner[np.asarray(item.idxs)] = np.asarray(item.root_idxs)
        counts = np.bincount(owner[owner >= 0], minlength=units)
        if counts.min() != counts.max():
            return None
        found.append(Member(f"{name}.{leaf}".lstrip("."), dim, side, owner, int(counts[0])))
    return found
