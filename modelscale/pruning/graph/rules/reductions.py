"""Operators that sum a dimension up or normalise over it."""

from __future__ import annotations

from modelscale.pruning.graph.atoms import Axes, Axis
from modelscale.pruning.graph.flow import Call, Rule, Several

# Zeros change none of these.
SUM_LIKE = {"sum", "linalg_vector_norm", "norm", "frobenius_norm"}


def _dims(call: Call) -> list[int]:
    dim = call.arguments.get("dim")
    rank = len(call.axes("self"))
    if dim is None or dim == []:
        return list(range(rank))
    return [d % rank for d in ([dim] if isinstance(dim, int) else dim)]


def reduced(call: Call) -> Axes:
    """Sum dimensions up: what is left changes with the positions that are cut."""
    flow, axes, gone = call.flow, call.axes("self"), _dims(call)
    harmless = call.operator in SUM_LIKE and call.is_weight("self")
    for d in gone:
        if not harmless:
            flow.mix(axes[d], call.operator)
    keep = call.rank == len(axes)
    return tuple(None if d in gone else a for d, a in enumerate(axes) if keep or d not in gone)


def found_in(call: Call) -> Axes:
    """Look for positions along a dimension, which must stay."""
    return _kept_along(call, drop=call.rank < len(call.axes("self")))


def found_with_places(call: Call) -> Several | None:
    """Return extremes and their positions along a dimension, which must stay."""
    if "dim" not in call.arguments:
        return None
    out = _kept_along(call, drop=call.arguments.get("keepdim") is False)
    return Several((out, out))


def extreme(call: Call) -> Axes | Several | None:
    """Return the larger or smaller of two, or of all, or along a dimension."""
    if "other" in call.arguments:
        operands = [call.flow.operand(call[name]) for name in ("self", "other")]
        return call.flow.broadcast(operands, call.operator)
    return found_with_places(call) if "dim" in call.arguments else reduced(call)


def normalised(call: Call) -> Axes:
    """Normalise along a dimension, which must stay, such as `softmax`."""
    return _kept_along(call, drop=False)


def _kept_along(call: Call, *, drop: bool) -> Axes:
    axes, gone = call.axes("self"), _dims(call)
    for d in gone:
        call.flow.freeze(axes[d], call.operator)
    out: list[Axis] = [
        None if d in gone else a for d, a in enumerate(axes) if not (drop and d in gone)
    ]
    return tuple(out)


def spread(call: Call) -> Several:
    """Return variance and mean."""
    out = reduced_to(call, keep=bool(call.arguments.get("keepdim", False)))
    return Several((out, out))


def reduced_to(call: Call, *, keep: bool) -> Axes:
    """Return what is left of the axes, and note what was summed up."""
    axes, gone = call.axes("self"), _dims(call)
    for d in gone:
        call.flow.mix(axes[d], call.operator)
    return tuple(None if d in gone else a for d, a in enumerate(axes) if keep or d not in gone)


def gated(call: Call) -> Axes:
    """Multiply the first half by the sigmoid of the second: both halves are cut alike."""
    axes, dim = list(call.axes("self")), call["dim"]
    axis = axes[dim]
    if axis is not None:
        half = len(axis) // 2
        axes[dim] = call.flow.join(axis[:half], axis[half:], call.operator)
    return tuple(axes)


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "mean",
            "sum",
            "amax",
            "amin",
            "std",
            "var",
            "prod",
            "logsumexp",
            "nanmean",
            "any",
            "all",
            "linalg_vector_norm",
            "norm",
            "frobenius_norm",
            "count_nonzero",
        ),
        reduced,
    ),
    **dict.fromkeys(("var_mean", "std_mean"), spread),
    **dict.fromkeys(("argmax", "argmin"), found_in),
    **dict.fromkeys(("max", "min"), extreme),
    **dict.fromkeys(("sort", "topk", "median"), found_with_places),
    **dict.fromkeys(
        ("softmax", "_softmax", "log_softmax", "_log_softmax", "softmin", "cumsum", "cumprod"),
        normalised,
    ),
    "glu": gated,
}
