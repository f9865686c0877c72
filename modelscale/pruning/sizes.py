"""Sizes that modules keep beside their weights, after a cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule, Node

    from modelscale.models.edits.cut import NodeChange
    from modelscale.pruning.graph.patches import Remains

Size = int | tuple[int, ...]
Settings = dict[str, Size]
Constant = tuple[str, Any, Any]  # its name, the value before, the value after

MOST_GUESSED = 6  # names of attributes of which all sets are proposed


def possible_settings(
    network: nn.Module,
    graph: GraphModule,
    changes: Sequence[NodeChange],
    remains: Remains,
) -> Iterator[Settings]:
    """Yield sets of attributes that may let a network's own code run on cut tensors.

    What a layer of torch does not read off its weights is certain: its number of groups, and
    the channels of a norm without weights. Another module's number may be one of the constants
    that changed in operators which this module called, or only happen to be equal to it: heads
    and their size are often the same number. So sets of attributes are proposed, small ones
    first, alike for all modules of a class.

    Args:
        network: With its tensors cut, and the sizes that these tell set.
        graph: The exported network before the cut.
        changes: Constants of the graph that are other ones.
        remains: What is left of each axis.
    """
    from modelscale.models.modules.slicing import is_layer

    nodes: dict[str, Node] = {node.name: node for node in graph.graph.nodes}
    constants = _constants(nodes, changes, remains)
    certain: Settings = {}
    guessed: dict[tuple[str, str], Settings] = {}  # by class and attribute
    for path, module in network.named_modules():
        own = constants.get(path, [])
        if is_layer(module):
            certain |= _changed(path, module, {name: new for name, _, new in own})
            continue
        for name, value in _changed(path, module, _guesses(module, own)).items():
            attribute = name.rpartition(".")[2]
            guessed.setdefault((type(module).__qualname__, attribute), {})[name] = value
    names = list(guessed)
    counts = range(len(names) + 1) if len(names) <= MOST_GUESSED else (0, len(names))
    for count in counts:
        for chosen in combinations(names, count):
            settings = dict(certain)
            for key in chosen:
                settings |= guessed[key]
            yield settings


def _changed(path: str, module: nn.Module, sizes: Mapping[str, Any]) -> Settings:
    from modelscale.models.modules.slicing import is_size

    held = vars(module)
    return {
        f"{path}.{name}".lstrip("."): value
        for name, value in sizes.items()
        if is_size(held.get(name)) and type(held[name]) is type(value) and held[name] != value
    }


def _guesses(module: nn.Module, constants: Sequence[Constant]) -> dict[str, Size]:
    """Return what each number of a module would be if it were a changed constant."""
    from modelscale.models.modules.slicing import is_size

    values = _unique([(old, new) for _, old, new in constants])
    return {
        name: _replaced(value, values) for name, value in vars(module).items() if is_size(value)
    }


def _constants(
    nodes: dict[str, Node], changes: Sequence[NodeChange], remains: Remains
) -> dict[str, list[Constant]]:
    """Return the changed constants of the operators that each module called itself."""
    constants: dict[str, list[Constant]] = {}
    for change in changes:
        node = nodes[change.node]
        constants.setdefault(module_of(node), []).extend(_pairs(node, change, remains))
    for node in nodes.values():
        constants.setdefault(module_of(node), []).extend(_normalised_widths(node, remains))
    return constants


def module_of(node: Node) -> str:
    """Return the path of the module whose forward code called an operator."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""


def _pairs(node: Node, change: NodeChange, remains: Remains) -> Iterator[Constant]:
    from modelscale.pruning.graph.analysis import call_of

    call = call_of(remains.flow, node)
    if call is None:
        return
    if change.becomes == "itself":
        for name, value in change.arguments.items():
            yield name, call[name], value
            if isinstance(value, tuple):
                yield from (
                    (name, old, new)
                    for old, new in zip(call[name], value, strict=True)
                    if isinstance(new, int) and isinstance(old, int) and new >= 0
                )
    elif change.becomes == "split_with_sizes":
        values = change.arguments["values"]
        dim = call["dim"]
        parts = remains.flow.several[node].outputs
        olds = [len(part[dim]) for part in parts]
        assert isinstance(values, tuple)
        yield from (("part", old, new) for old, new in zip(olds, values, strict=True))
    else:
        kept = remains.kept(call.axes("self")[call["dim"]], 0)
        for name in ("start", "end", "length"):
            bound = call.arguments.get(name)
            if isinstance(bound, int) and 0 < bound <= len(kept):
                yield name, bound, int(kept[:bound].sum())


def _normalised_widths(node: Node, remains: Remains) -> Iterator[Constant]:
    """Yield the channels of norms, which may have no weights that would tell them."""
    from modelscale.pruning.graph.analysis import call_of

    call = call_of(remains.flow, node) if node.op == "call_function" else None
    if call is None or call.operator not in {"batch_norm", "instance_norm", "group_norm"}:
        return
    channels = call.shape("input")[1]
    left = remains.shape(call["input"])[1]
    if left != channels:
        name = "num_channels" if call.operator == "group_norm" else "num_features"
        yield name, channels, left


def _unique(pairs: Sequence[tuple[Any, Any]]) -> dict[int, int]:
    """Return the new value of each old number that has one only."""
    values: dict[int, set[int]] = {}
    for old, new in pairs:
        if isinstance(old, int) and isinstance(new, int):
            values.setdefault(old, set()).add(new)
    return {old: next(iter(new)) for old, new in values.items() if len(new) == 1}


def _replaced(value: Size, guess: dict[int, int]) -> Size:
    if isinstance(value, tuple):
        return tuple(guess.get(item, item) for item in value)
    return guess.get(value, value)
