"""Operators that work on each value by itself, and those that only look at the map."""

from __future__ import annotations

import re

from modelscale.pruning.graph.atoms import Axes
from modelscale.pruning.graph.flow import Call, Rule

NAMES = (
    "abs", "add", "addcdiv", "addcmul", "alias", "alpha_dropout", "atan", "bitwise_and",
    "bitwise_not", "bitwise_or", "ceil", "celu", "clamp", "clamp_max", "clamp_min", "clone",
    "contiguous", "copy", "cos", "detach", "detach_", "div", "dropout", "elu", "eq", "erf",
    "erfc", "exp", "exp2", "expm1", "feature_alpha_dropout", "feature_dropout", "fill",
    "floor", "floor_divide", "fmod", "ge", "gelu", "gt", "hardshrink", "hardsigmoid",
    "hardswish", "hardtanh", "isfinite", "isinf", "isnan", "le", "leaky_relu", "lift_fresh",
    "lift_fresh_copy", "log", "log10", "log1p", "log2", "log_sigmoid", "logical_and",
    "logical_not", "logical_or", "lt", "masked_fill", "maximum", "minimum", "mish", "mul",
    "native_dropout", "ne", "neg", "nan_to_num", "ones_like", "pow", "reciprocal", "relu",
    "relu6", "remainder", "round", "rrelu", "rsqrt", "rsub", "selu", "sigmoid", "sign",
    "silu", "sin", "softplus", "softshrink", "softsign", "sqrt", "square", "sub", "tan",
    "tanh", "tanhshrink", "threshold", "to", "to_copy", "true_divide", "trunc", "type_as",
    "where", "xlogy", "zero", "zeros_like", "_to_copy",
)  # fmt: skip

# The number at the end tells how many dimensions of the map follow the channels.
MAP_NAMES = (
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    "adaptive_max_pool1d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d",
    "max_pool2d", "max_pool3d", "upsample_nearest1d", "upsample_nearest2d",
    "upsample_nearest3d", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
    "upsample_bicubic2d", "upsample_trilinear3d", "_upsample_bilinear2d_aa",
    "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d",
    "replication_pad3d",
)  # fmt: skip


def elementwise(call: Call) -> Axes:
    """Follow the usual broadcasting; every tensor that takes part is cut alike."""
    flow = call.flow
    operands = [flow.operand(node) for node in flow.tensors(call.arguments)]
    return flow.broadcast(operands, call.operator)


def over_map(call: Call) -> Axes:
    """Keep batch and channels; the map in the last dimensions must stay."""
    found = re.search(r"(\d)d", call.operator)
    assert found is not None
    axes = call.axes("self" if "self" in call.arguments else "input")
    leading = len(axes) - int(found.group(1))
    for axis in axes[leading:]:
        call.flow.freeze(axis, call.operator)
    return (*axes[:leading], *[None] * (len(axes) - leading))


def prelu(call: Call) -> Axes:
    """Join the slope of each channel with the channels."""
    axes, slope = list(call.axes("self")), call.axes("weight")
    if len(axes) > 1 and call.shape("weight") != (1,):
        axes[1] = call.flow.join(axes[1], slope[0], call.operator)
    return tuple(axes)


RULES: dict[str, Rule] = {
    **dict.fromkeys(NAMES, elementwise),
    **dict.fromkeys(MAP_NAMES, over_map),
    "prelu": prelu,
}
