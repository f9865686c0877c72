"""Operators with weights: linear layers, convolutions, norms, embeddings."""

from __future__ import annotations

import numpy as np

from modelscale.pruning.graph.atoms import Axes, Axis
from modelscale.pruning.graph.flow import Call, Rule, Several


def linear(call: Call) -> Axes:
    """Read the last dimension by the weight's columns; its rows make the result's."""
    x, weight = call.axes("input"), call.axes("weight")
    _read(call, x[-1], weight[1])
    call.flow.write(weight[0])
    return (*x[:-1], _with_bias(call, weight[0]))


def convolution(call: Call) -> Axes:
    """Read channels by the kernel's second dimension; its first one makes channels."""
    flow, x, kernel, groups = call.flow, call.axes("input"), call.axes("weight"), call["groups"]
    _keep_kernel(call, kernel)
    place = len(x) - len(kernel) + 1  # an image may come without a batch
    flow.write(kernel[0])
    if groups == 1:
        _read(call, x[place], kernel[1])
    elif whole_groups(groups, call.shape("weight")[1]):
        flow.freeze(kernel[1], call.operator)
        flow.join(
            tied_within(call, x[place], groups), tied_within(call, kernel[0], groups), "groups"
        )
    else:
        tied_across(call, kernel[0], groups)
        _read(call, tied_across(call, x[place], groups), kernel[1])
    return (*x[:place], _with_bias(call, kernel[0]), *[None] * (call.rank - place - 1))


def transposed_convolution(call: Call) -> Axes:
    """Read channels by the kernel's first dimension; its second one makes channels."""
    flow, x, kernel, groups = call.flow, call.axes("input"), call.axes("weight"), call["groups"]
    _keep_kernel(call, kernel)
    place = len(x) - len(kernel) + 1
    made = kernel[1]
    whole = groups > 1 and whole_groups(groups, call.shape("weight")[0] // groups)
    if not whole:
        _read(call, x[place], kernel[0])
    if whole:
        flow.join(x[place], kernel[0], call.operator)
        flow.freeze(kernel[1], call.operator)
        group = tied_within(call, kernel[0], groups)
        made = None if group is None else group.repeat(call.shape("weight")[1], axis=0)
    elif groups > 1:
        tied_across(call, kernel[0], groups)
        made = None if made is None else np.concatenate([made] * groups)
    flow.write(kernel[1])
    return (*x[:place], _with_bias(call, made), *[None] * (call.rank - place - 1))


def whole_groups(groups: int, width: int) -> bool:
    """Return whether whole groups are cut, not as many channels from each group.

    Args:
        groups: Number of groups.
        width: Channels of each.
    """
    return groups >= width


def tied_within(call: Call, axis: Axis, groups: int) -> Axis:
    """Return an axis (groups, 1) whose positions stand for all channels of a group."""
    return None if axis is None else call.flow.tie(axis.reshape(groups, -1))


def tied_across(call: Call, axis: Axis, groups: int) -> Axis:
    """Return an axis (width, 1) whose positions stand for one channel of every group."""
    if axis is None:
        return None
    return call.flow.tie(axis.reshape(groups, -1, axis.shape[1]).swapaxes(0, 1))


def _keep_kernel(call: Call, kernel: Axes) -> None:
    for axis in kernel[2:]:
        call.flow.freeze(axis, call.operator)


def _read(call: Call, x: Axis, weight: Axis) -> None:
    call.flow.join(x, weight, call.operator)
    call.flow.read(weight)
    if not call.is_weight("weight"):
        call.flow.mix(x, call.operator)


def _with_bias(call: Call, axis: Axis) -> Axis:
    if not call.given("bias"):
        return axis
    bias = call.axes("bias")[0]
    call.flow.write(bias)
    return call.flow.join(axis, bias, call.operator)


def norm_of_channels(call: Call) -> Axes:
    """Normalise each channel by itself: batch norm and instance norm."""
    x = list(call.axes("input"))
    names = ("weight", "bias", "running_mean", "running_var")
    own = [call.axes(name)[0] for name in names if call.given(name)]
    x[1] = call.flow.join_all([x[1], *own], call.operator)
    return tuple(x)


def norm_of_groups(call: Call) -> Axes:
    """Normalise groups of channels: whole groups go, or as many channels from each."""
    flow, x, groups = call.flow, list(call.axes("input")), call["num_groups"]
    own = [call.axes(name)[0] for name in ("weight", "bias") if call.given(name)]
    x[1] = channels = flow.join_all([x[1], *own], call.operator)
    if channels is None:
        return tuple(x)
    if whole_groups(groups, len(channels) // groups):
        tied_within(call, channels, groups)
    else:
        tied_across(call, channels, groups)
        flow.mix(channels, call.operator)
    return tuple(x)


def norm_of_layer(call: Call) -> Axes:
    """Normalise over the last dimensions; statistics change with what is cut."""
    flow, x = call.flow, list(call.axes("input"))
    for place in range(1, len(call["normalized_shape"]) + 1):
        own = [call.axes(name)[-place] for name in ("weight", "bias") if call.given(name)]
        x[-place] = flow.join_all([x[-place], *own], call.operator)
        flow.mix(x[-place], call.operator)
    return tuple(x)


def weight_norm(call: Call) -> Axes | Several | None:
    """Scale each row of a weight to a length of its own (Salimans and Kingma, 2016)."""
    direction, length = list(call.axes("v")), call.axes("g")
    dim = call["dim"] % len(direction)
    if call.shape("g")[dim] != call.shape("v")[dim]:
        return None
    direction[dim] = call.flow.join(direction[dim], length[dim], call.operator)
    if call.operator == "_weight_norm":
        return tuple(direction)
    return Several((tuple(direction), length))


def embedding(call: Call) -> Axes:
    """Look rows up; the vocabulary stays."""
    rows, width = call.axes("weight")
    call.flow.freeze(rows, call.operator)
    call.flow.write(width)
    return (*call.axes("indices"), width)


RULES: dict[str, Rule] = {
    "linear": linear,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    **dict.fromkeys(
        ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), transposed_convolution
    ),
    **dict.fromkeys(("batch_norm", "instance_norm"), norm_of_channels),
    "group_norm": norm_of_groups,
    **dict.fromkeys(("layer_norm", "rms_norm"), norm_of_layer),
    **dict.fromkeys(("_weight_norm", "_weight_norm_interface"), weight_norm),
    "embedding": embedding,
}
