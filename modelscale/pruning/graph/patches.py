"""Constants of a graph that are other ones after a cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from modelscale.models.edits.cut import NodeChange
from modelscale.pruning.graph.analysis import call_of
from modelscale.pruning.graph.atoms import Axis
from modelscale.pruning.graph.flow import Call, Flow
from modelscale.pruning.graph.rules.joining import bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.fx import GraphModule, Node


class Remains:
    """What is left of each axis when some atoms are gone."""

    def __init__(self, flow: Flow, gone: NDArray[np.bool_]) -> None:
        """Take a flow and, for each atom, whether its representative goes."""
        self.flow, self._gone = flow, gone

    def kept(self, axis: Axis, size: int) -> NDArray[np.bool_]:
        """Return for each position of an axis whether it stays."""
        if axis is None:
            return np.ones(size, dtype=bool)
        gone = self._gone[self.flow.atoms.roots(axis)]
        stays: NDArray[np.bool_] = ~np.logical_or.reduce(gone, axis=1)
        return stays

    def shape(self, node: Node) -> tuple[int, ...]:
        """Return the shape of a tensor after the cut."""
        axes, shape = self.flow.axes[node], self.flow.shapes[node]
        return tuple(
            int(self.kept(axis, size).sum()) for axis, size in zip(axes, shape, strict=True)
        )

    def sizes(self, node: Node) -> tuple[int | None, ...]:
        """Return the sizes of a tensor after the cut, None where they are as before."""
        pairs = zip(self.shape(node), self.flow.shapes[node], strict=True)
        return tuple(None if new == old else new for new, old in pairs)


def changes_of(module: GraphModule, remains: Remains) -> tuple[NodeChange, ...]:
    """Return the constants that a graph needs so that it runs on the tensors that are left."""
    changes = []
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        call = call_of(remains.flow, node)
        change = CHANGES.get(call.operator) if call is not None else None
        if call is None or change is None:
            continue
        arguments = change(call, remains)
        becomes = arguments.pop("becomes", "itself")
        if arguments:
            changes.append(
                NodeChange(
                    node=node.name,
                    operator=str(node.target),
                    arguments=arguments,
                    becomes=becomes,
                )
            )
    return tuple(changes)


def _sizes(argument: str) -> Callable[[Call, Remains], dict[str, Any]]:
    def change(call: Call, remains: Remains) -> dict[str, Any]:
        sizes = remains.sizes(call.node)
        given = call[argument]
        # A -1 follows by itself; a computed size, such as batch times heads, becomes one.
        value = tuple(
            None if new is None or old == -1 else new if isinstance(old, int) else -1
            for new, old in zip(sizes, given, strict=True)
        )
        return {argument: value} if _says_something(value) else {}

    return change


def _says_something(value: tuple[int | None, ...]) -> bool:
    return any(entry is not None for entry in value)


def _unflatten(call: Call, remains: Remains) -> dict[str, Any]:
    first = call["dim"] % len(call.shape("self"))
    sizes = remains.sizes(call.node)[first : first + len(call["sizes"])]
    return {"sizes": sizes} if _says_something(sizes) else {}


def _repeat(call: Call, remains: Remains) -> dict[str, Any]:
    before = (1,) * (call.rank - len(call.shape("self"))) + call.shape("self")
    sizes = remains.sizes(call.node)
    # Where a dimension of one was repeated, the copies are the positions.
    value = tuple(new if old == 1 else None for new, old in zip(sizes, before, strict=True))
    return {"repeats": value} if _says_something(value) else {}


def _normalized(call: Call, remains: Remains) -> dict[str, Any]:
    sizes = remains.sizes(call.node)[-len(call["normalized_shape"]) :]
    return {"normalized_shape": sizes} if _says_something(sizes) else {}


def _groups(argument: str) -> Callable[[Call, Remains], dict[str, Any]]:
    def change(call: Call, remains: Remains) -> dict[str, Any]:
        axes, shape, groups = call.axes("input"), call.shape("input"), call[argument]
        place = 1 if argument == "num_groups" else len(axes) - len(call.axes("weight")) + 1
        kept = remains.kept(axes[place], shape[place]).reshape(groups, -1)
        left = int(kept.any(axis=1).sum())
        return {} if left == groups else {argument: left}

    return change


def _split(call: Call, remains: Remains) -> dict[str, Any]:
    dim, several = call["dim"], remains.flow.several.get(call.node)
    axis = call.axes("self")[dim]
    if several is None or remains.kept(axis, 1).all():
        return {}
    sizes = tuple(int(remains.kept(part[dim], 0).sum()) for part in several.outputs)
    return {"becomes": "split_with_sizes", "dim": dim, "values": sizes}


def _slice(call: Call, remains: Remains) -> dict[str, Any]:
    dim, taken = call["dim"], bounds(call)
    kept = remains.kept(call.axes("self")[dim], call.shape("self")[dim])
    if taken is None or kept.all() or len(kept[taken]) == len(kept):
        return {}
    place = np.cumsum(kept) - 1
    values = tuple(place[taken][kept[taken]].tolist())
    return {"becomes": "index_select", "dim": dim, "values": values}


def _pad(call: Call, remains: Remains) -> dict[str, Any]:
    widths = list(call["pad"])
    for place in range(len(widths) // 2):
        axis = remains.flow.axes[call.node][-1 - place]
        before, after = widths[2 * place : 2 * place + 2]
        if axis is None or (before == 0 and after == 0):
            continue
        kept = remains.kept(axis, 0)
        widths[2 * place] = int(kept[:before].sum())
        widths[2 * place + 1] = int(kept[len(kept) - after :].sum())
    return {} if widths == list(call["pad"]) else {"pad": tuple(widths)}


def _scale(call: Call, remains: Remains) -> dict[str, Any]:
    width = call.shape("query")[-1]
    if call["scale"] is not None or remains.shape(call["query"])[-1] == width:
        return {}
    return {"scale": width**-0.5}  # as trained, not as the smaller heads would have it


CHANGES: dict[str, Callable[[Call, Remains], dict[str, Any]]] = {
    **dict.fromkeys(("view", "_unsafe_view", "new_zeros", "new_ones"), _sizes("size")),
    **dict.fromkeys(("expand", "broadcast_to", "zeros", "ones", "full"), _sizes("size")),
    **dict.fromkeys(("new_full", "empty", "new_empty", "_reshape_alias"), _sizes("size")),
    "reshape": _sizes("shape"),
    "unflatten": _unflatten,
    "repeat": _repeat,
    **dict.fromkeys(("layer_norm", "rms_norm"), _normalized),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _groups("groups")),
    **dict.fromkeys(
        ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _groups("groups")
    ),
    "group_norm": _groups("num_groups"),
    **dict.fromkeys(
        ("split", "split_with_sizes", "chunk", "unsafe_chunk", "unsafe_split"), _split
    ),
    **dict.fromkeys(("slice", "narrow"), _slice),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "scaled_dot_product_attention": _scale,
}
