"""Operators that reorder, split and merge dimensions without touching values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelscale.pruning.graph.atoms import Axes, Axis, factors, merged
from modelscale.pruning.graph.flow import Call, Choice, Flow, Rule


class Part(NamedTuple):
    """Dimensions of the input of a view that become dimensions of its result."""

    before: list[int]
    after: list[int]


def parts_of(before: tuple[int, ...], after: tuple[int, ...]) -> list[Part]:
    """Return the smallest runs of dimensions that hold the same number of values."""
    parts, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        part = Part([], [])
        left = right = 1
        if i < len(before):
            left, i = before[i], i + 1
            part.before.append(i - 1)
        if j < len(after):
            right, j = after[j], j + 1
            part.after.append(j - 1)
        while left != right:
            if left < right:
                left, i = left * before[i], i + 1
                part.before.append(i - 1)
            else:
                right, j = right * after[j], j + 1
                part.after.append(j - 1)
        parts.append(part)
    return parts


def view(call: Call) -> Axes:
    """Merge and split dimensions: `view`, `reshape`, `flatten`, `unflatten`."""
    flow, axes, before = call.flow, call.axes("self"), call.shape("self")
    out: list[Axis] = [None] * call.rank
    for place, part in enumerate(parts_of(before, call.result)):
        sizes = tuple(before[d] for d in part.before)
        whole = merged(_without_copies(flow, tuple(axes[d] for d in part.before)), sizes)
        if len(part.after) == 1:
            out[part.after[0]] = whole
        elif whole is not None:
            choice = Choice(call.node.name, place)
            split = split_axis(flow, choice, whole, tuple(call.result[d] for d in part.after))
            for d, axis in zip(part.after, split, strict=True):
                out[d] = axis
    return tuple(out)


def _without_copies(flow: Flow, axes: Axes) -> Axes:
    """Keep all copies of what else can be cut, such as the keys that several heads share."""
    copied = [axis is not None and int(axis[0, 0]) in flow.copies for axis in axes]
    if sum(axis is not None for axis in axes) == sum(copied):
        return axes
    for axis, copy in zip(axes, copied, strict=True):
        if copy:
            flow.freeze(axis, "copies")
    return tuple(None if copy else axis for axis, copy in zip(axes, copied, strict=True))


def view_as(call: Call) -> Axes:
    """View a tensor in the shape of another, which is then cut alike."""
    other = call.axes("other")
    axes = zip(view(call), other, strict=True)
    return tuple(call.flow.join(left, right, call.operator) for left, right in axes)


def split_axis(flow: Flow, choice: Choice, axis: Axis, sizes: tuple[int, ...]) -> list[Axis]:
    """Return the axes that an axis is split into.

    Where each factor of the axis varies over one of the dimensions alone, nothing is lost.
    Otherwise one dimension stays free, and the positions along the others are tied.
    """
    assert axis is not None
    roots = flow.atoms.roots(axis)
    varying = factors(roots, sizes)
    if flow.probing:
        return _fresh_parts(flow, choice, axis, sizes)
    grid = axis.reshape(*sizes, axis.shape[1])
    out: list[Axis] = [None] * len(sizes)
    if all(len(dims) <= 1 for dims in varying):
        for column, dims in enumerate(varying):
            if not dims:
                flow.freeze(axis[:1, column : column + 1], "view")
                continue
            line = np.moveaxis(grid[..., column], dims[0], 0).reshape(sizes[dims[0]], -1)[:, :1]
            held = out[dims[0]]
            out[dims[0]] = line if held is None else np.concatenate([held, line], axis=1)
        return out
    possible = sorted({d for dims in varying for d in dims})
    wanted = flow.preferences.get(choice, [])
    kept = next((d for d in wanted if d in possible), possible[0])
    out[kept] = tied = flow.tie(np.moveaxis(grid, kept, 0))
    flow.kept[choice] = (kept, tied)
    return out


def _fresh_parts(flow: Flow, choice: Choice, axis: Axis, sizes: tuple[int, ...]) -> list[Axis]:
    """Return new atoms for each part, whose fate tells what the parts are."""
    assert axis is not None
    out: list[Axis] = [flow.atoms.fresh(size) if size > 1 else None for size in sizes]
    flow.splits[choice] = out
    for part in out:
        if part is not None:
            flow.origins.append((axis.ravel(), part.ravel()))
    return out


def transpose(call: Call) -> Axes:
    """Swap two dimensions."""
    axes = list(call.axes("self"))
    first, second = call["dim0"], call["dim1"]
    axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes)


def turned(call: Call) -> Axes:
    """Swap the last two dimensions of a tensor of two or more: `t`, `mT`, `numpy_T`."""
    axes = call.axes("self")
    return axes[::-1] if call.operator in {"t", "numpy_T"} else (*axes[:-2], axes[-1], axes[-2])


def permute(call: Call) -> Axes:
    """Reorder dimensions."""
    axes = call.axes("self")
    return tuple(axes[d] for d in call["dims"])


def movedim(call: Call) -> Axes:
    """Move dimensions elsewhere, the others keep their order."""
    axes, source, target = call.axes("self"), call["source"], call["destination"]
    sources = [source] if isinstance(source, int) else list(source)
    targets = [target] if isinstance(target, int) else list(target)
    order = np.moveaxis(np.empty(range(2, 2 + len(axes))), sources, targets).shape
    return tuple(axes[size - 2] for size in order)


def unsqueeze(call: Call) -> Axes:
    """Insert a dimension of one."""
    axes = list(call.axes("self"))
    axes.insert(call["dim"] % (len(axes) + 1), None)
    return tuple(axes)


def squeeze(call: Call) -> Axes:
    """Drop dimensions of one."""
    axes, shape = call.axes("self"), call.shape("self")
    dim = call.arguments.get("dim")
    dims = range(len(axes)) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = {d % len(axes) for d in dims}
    return tuple(a for d, a in enumerate(axes) if not (d in gone and shape[d] == 1))


def expand(call: Call) -> Axes:
    """Repeat dimensions of one; as all copies are equal, any of them may go."""
    flow, axes, shape = call.flow, call.axes("self"), call.shape("self")
    added = call.rank - len(axes)
    out: list[Axis] = []
    for d, size in enumerate(call.result):
        old = d - added
        if old >= 0 and shape[old] == size:
            out.append(axes[old])
        elif call.given("other"):  # the size is read from another tensor
            out.append(call.axes("other")[d])
        else:
            out.append(flow.equal_copies(size) if flow.is_resizable(call.node, d) else None)
    return tuple(out)


def repeat(call: Call) -> Axes:
    """Tile a tensor."""
    flow, axes, shape = call.flow, call.axes("self"), call.shape("self")
    added = call.rank - len(axes)
    out: list[Axis] = []
    for d, size in enumerate(call.result):
        axis = axes[d - added] if d >= added else None
        if axis is not None:
            out.append(np.concatenate([axis] * (size // len(axis))))
        elif size > 1 and (d < added or shape[d - added] == 1):
            out.append(flow.equal_copies(size) if flow.is_resizable(call.node, d) else None)
        else:
            out.append(None)
    return tuple(out)


def repeat_interleave(call: Call) -> Axes | None:
    """Repeat each position of a dimension."""
    axes, dim, times = list(call.axes("self")), call["dim"], call["repeats"]
    if dim is None or not isinstance(times, int):
        return None
    axis = axes[dim]
    axes[dim] = None if axis is None else axis.repeat(times, axis=0)
    return tuple(axes)


def flip(call: Call) -> Axes:
    """Turn dimensions round."""
    axes = list(call.axes("self"))
    for d in call["dims"]:
        axis = axes[d]
        axes[d] = None if axis is None else axis[::-1]
    return tuple(axes)


def roll(call: Call) -> Axes:
    """Move values round; the dimensions along which they move stay."""
    axes = list(call.axes("self"))
    for d in call["dims"] or range(len(axes)):
        call.flow.freeze(axes[d], call.operator)
        axes[d] = None
    return tuple(axes)


def pixel_shuffle(call: Call) -> Axes:
    """Make r × r pixels of r² channels (Shi et al., arXiv:1609.05158)."""
    x, ratio = call.axes("self"), call["upscale_factor"] ** 2
    channels = x[-3]
    made = None
    if channels is not None:
        made = call.flow.tie(channels.reshape(len(channels) // ratio, -1))
    return (*x[:-3], made, *_map(call, x))


def pixel_unshuffle(call: Call) -> Axes:
    """Make r² channels of r × r pixels."""
    x, ratio = call.axes("self"), call["downscale_factor"] ** 2
    made = None if x[-3] is None else x[-3].repeat(ratio, axis=0)
    return (*x[:-3], made, *_map(call, x))


def _map(call: Call, x: Axes) -> Axes:
    for axis in x[-2:]:
        call.flow.freeze(axis, call.operator)
    return (None, None)


def channel_shuffle(call: Call) -> Axes:
    """Deal the channels of each group out in turn; the same of each group go."""
    x, groups = list(call.axes("self")), call["groups"]
    channels = x[1]
    if channels is not None:
        dealt = channels.reshape(groups, -1, channels.shape[1]).swapaxes(0, 1)
        x[1] = call.flow.tie(dealt).repeat(groups, axis=0)
    return tuple(x)


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("view", "reshape", "_reshape_alias", "_unsafe_view", "flatten", "unflatten"), view
    ),
    **dict.fromkeys(("view_as", "reshape_as"), view_as),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), transpose),
    **dict.fromkeys(("t", "numpy_T", "mT", "adjoint", "matrix_H"), turned),
    "permute": permute,
    "movedim": movedim,
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), expand),
    "repeat": repeat,
    "repeat_interleave": repeat_interleave,
    "flip": flip,
    "roll": roll,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), channel_shuffle),
}
