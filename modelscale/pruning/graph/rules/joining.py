"""Operators that put tensors together, take parts of them, or make constants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelscale.pruning.graph.atoms import Axes, Axis, Ids
from modelscale.pruning.graph.flow import Call, Flow, Rule, Several


def concatenated(flow: Flow, axes: Sequence[Axis], sizes: Sequence[int]) -> Axis:
    """Return one axis after another; those that cannot be cut keep their places."""
    if all(axis is None for axis in axes):
        return None
    parts = [
        flow.fixed(size) if axis is None else axis
        for axis, size in zip(axes, sizes, strict=True)
    ]
    factors = max(part.shape[1] for part in parts)
    return np.concatenate([_widened(part, factors) for part in parts])


def _widened(axis: Ids, factors: int) -> Ids:
    """Return the same axis with its last factor repeated, which says nothing new."""
    return np.concatenate([axis, *[axis[:, -1:]] * (factors - axis.shape[1])], axis=1)


def cat(call: Call) -> Axes | None:
    """Join tensors along a dimension; the other dimensions are cut alike."""
    flow = call.flow
    tensors = [t for t in call["tensors"] if flow.shapes[t] != (0,)]
    dim = call["dim"] % call.rank
    out: list[Axis] = []
    for d in range(call.rank):
        axes = [flow.axes[t][d] for t in tensors]
        if d == dim:
            out.append(concatenated(flow, axes, [flow.shapes[t][d] for t in tensors]))
        else:
            out.append(flow.join_all(axes, call.operator))
    return tuple(out)


def stack(call: Call) -> Axes:
    """Put tensors side by side along a new dimension."""
    axes = [call.flow.axes[tensor] for tensor in call["tensors"]]
    out = [call.flow.join_all(same, call.operator) for same in zip(*axes, strict=True)]
    out.insert(call["dim"] % call.rank, None)
    return tuple(out)


def split(call: Call) -> Several | None:
    """Take a dimension apart: `split`, `chunk`."""
    axes, dim = call.axes("self"), call["dim"]
    sizes = part_sizes(call)
    if sizes is None:
        return None
    parts, first = [], 0
    for size in sizes:
        part, axis = list(axes), axes[dim]
        part[dim] = None if axis is None else axis[first : first + size]
        parts.append(tuple(part))
        first += size
    return Several(tuple(parts))


def part_sizes(call: Call) -> list[int] | None:
    """Return the sizes that a dimension is taken apart into; None where they vary."""
    total = call.shape("self")[call["dim"]]
    sizes = call.arguments.get("split_sizes", call.arguments.get("split_size"))
    if call.operator in {"chunk", "unsafe_chunk"}:
        sizes = -(-total // call["chunks"])
    if isinstance(sizes, int):
        return [min(sizes, total - first) for first in range(0, total, sizes)]
    if isinstance(sizes, (list, tuple)) and all(isinstance(size, int) for size in sizes):
        return list(sizes)
    return None


def unbind(call: Call) -> Several:
    """Take a dimension apart into single positions, which must all stay."""
    axes, dim = list(call.axes("self")), call["dim"]
    count = call.shape("self")[dim]
    call.flow.freeze(axes[dim], call.operator)
    del axes[dim]
    return Several((tuple(axes),) * count)


def select(call: Call) -> Axes:
    """Take one position, which must stay where it is."""
    axes, dim = list(call.axes("self")), call["dim"]
    call.flow.freeze(axes[dim], call.operator)
    del axes[dim]
    return tuple(axes)


def bounds(call: Call) -> slice | None:
    """Return which positions a slice takes; None where they vary."""
    if call.operator == "narrow":
        start, stop, step = call["start"], None, 1
        if isinstance(start, int) and isinstance(call["length"], int):
            start %= call.shape("self")[call["dim"]]
            stop = start + call["length"]
    else:
        start, stop, step = call["start"], call["end"], call["step"]
    known = all(value is None or isinstance(value, int) for value in (start, stop, step))
    return slice(start, stop, step) if known else None


def sliced(call: Call) -> Axes:
    """Take a range of positions."""
    axes, dim, taken = list(call.axes("self")), call["dim"], bounds(call)
    axis = axes[dim]
    if axis is not None and taken is None:
        call.flow.freeze(axis, call.operator)
        axis = None
    axes[dim] = None if axis is None or taken is None else axis[taken]
    return tuple(axes)


def pad(call: Call) -> Axes | None:
    """Add constant positions at the ends of the last dimensions, any of which may go."""
    flow, axes, widths = call.flow, list(call.axes("self")), call["pad"]
    if not all(isinstance(width, int) for width in widths):
        return None
    for place in range(len(widths) // 2):
        dim, (before, after) = -1 - place, widths[2 * place : 2 * place + 2]
        axis = axes[dim]
        if axis is None or (before == 0 and after == 0):
            continue
        if call.arguments.get("mode", "constant") != "constant" or min(before, after) < 0:
            flow.freeze(axis, call.operator)
            axes[dim] = None
            continue
        parts = [flow.atoms.fresh(before), axis, flow.atoms.fresh(after)]
        axes[dim] = concatenated(flow, parts, [len(part) for part in parts])
    return tuple(axes)


def index_select(call: Call) -> Axes:
    """Take positions by a list, along a dimension that stays."""
    axes, dim = list(call.axes("self")), call["dim"]
    call.flow.freeze(axes[dim], call.operator)
    axes[dim] = None
    return tuple(axes)


def index(call: Call) -> Axes | None:
    """Look positions up by tensors, along neighbouring dimensions that stay."""
    axes, indices = list(call.axes("self")), list(call["indices"])
    looked_up = [d for d, at in enumerate(indices) if at is not None]
    if not looked_up or looked_up != list(range(looked_up[0], looked_up[-1] + 1)):
        return None
    for d in looked_up:
        call.flow.freeze(axes[d], call.operator)
    rest = len(axes) - len(looked_up)
    found: list[Axis] = [None] * (call.rank - rest)
    return (*axes[: looked_up[0]], *found, *axes[looked_up[-1] + 1 :])


def constant(call: Call) -> Axes:
    """Make equal values (`zeros`, `full`), as many as are needed."""
    flow, node = call.flow, call.node
    return tuple(
        flow.atoms.fresh(size) if flow.is_resizable(node, d) else None
        for d, size in enumerate(call.result)
    )


def stays(call: Call) -> Axes:
    """Make values that differ by their place, such as `arange`."""
    return (None,) * call.rank


RULES: dict[str, Rule] = {
    **dict.fromkeys(("cat", "concat", "concatenate"), cat),
    "stack": stack,
    **dict.fromkeys(
        ("split", "split_with_sizes", "chunk", "unsafe_chunk", "unsafe_split"), split
    ),
    "unbind": unbind,
    "select": select,
    **dict.fromkeys(("slice", "narrow"), sliced),
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    "index_select": index_select,
    "index": index,
    **dict.fromkeys(
        ("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty"),
        constant,
    ),
    **dict.fromkeys(("arange", "scalar_tensor", "eye", "linspace", "triu_indices"), stays),
}
