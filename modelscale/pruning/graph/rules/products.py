"""Products of matrices; where both are activations, that is attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.pruning.graph.atoms import Axes, Axis
from modelscale.pruning.graph.flow import Call, Flow, Operand, Rule

if TYPE_CHECKING:
    from torch.fx import Node


def matmul(call: Call) -> Axes | None:
    """Multiply matrices, or batches of them."""
    return _multiplied(
        call, call["self"], call["other" if "other" in call.arguments else "mat2"]
    )


def _multiplied(call: Call, left: Node, right: Node) -> Axes | None:
    flow, operator = call.flow, call.operator
    a, b = flow.operand(left), flow.operand(right)
    if len(a.shape) < 2 or len(b.shape) < 2:
        return None
    contract(call, (left, a.axes[-1]), (right, b.axes[-2]))
    batch = flow.broadcast([_leading(a), _leading(b)], operator)
    if left in flow.weights:
        flow.write(a.axes[-2])
    if right in flow.weights:
        flow.write(b.axes[-1])
    if not {left, right} & flow.weights:
        for axis in batch:
            flow.role(axis, "batch")
        flow.role(a.axes[-2], "free")
        flow.role(b.axes[-1], "free")
    return (*batch, a.axes[-2], b.axes[-1])


def added_matmul(call: Call) -> Axes | None:
    """Multiply matrices and add a third: `addmm`, `baddbmm`."""
    names = [name for name in ("mat1", "mat2", "batch1", "batch2") if name in call.arguments]
    left, right = (call[name] for name in names)
    out = _multiplied(call, left, right)
    if out is None:
        return None
    flow, added = call.flow, call["self"]
    if added in flow.weights:
        flow.write(flow.axes[added][-1])
    return flow.broadcast([Operand(out, call.result), flow.operand(added)], call.operator)


def contract(call: Call, left: tuple[Node, Axis], right: tuple[Node, Axis]) -> None:
    """Sum over a dimension that two tensors share.

    A weight's side are outgoing weights: where these are zero, the units do not matter.
    """
    flow = call.flow
    flow.join(left[1], right[1], call.operator)
    of_weights = [axis for node, axis in (left, right) if node in flow.weights]
    if of_weights:
        flow.read(of_weights[-1])
        return
    flow.mix(left[1], call.operator)
    flow.role(left[1], "contracted")


def _leading(operand: Operand) -> Operand:
    return Operand(operand.axes[:-2], operand.shape[:-2])


def attention(call: Call) -> Axes:
    """Follow scaled dot-product attention (Vaswani et al., arXiv:1706.03762).

    Where several heads of queries share one of keys and values, they go together.
    """
    flow, operator = call.flow, call.operator
    query, key, value = (_repeated(call, name) for name in ("query", "key", "value"))
    flow.mix(query.axes[-1], operator)
    flow.role(query.axes[-1], "contracted")
    flow.join(query.axes[-1], key.axes[-1], operator)
    flow.freeze(flow.join(key.axes[-2], value.axes[-2], operator), operator)
    heads = flow.broadcast([_leading(o) for o in (query, key, value)], operator)
    flow.role(value.axes[-1], "free")
    for axis in heads:
        flow.role(axis, "batch")
    if call.given("attn_mask"):
        mask = flow.operand(call["attn_mask"])
        scores = Operand((*heads, query.axes[-2], None), (*call.result[:-1], key.shape[-2]))
        flow.broadcast([scores, mask], operator)
    return (*heads, query.axes[-2], value.axes[-1])


def _repeated(call: Call, name: str) -> Operand:
    operand, heads = call.flow.operand(call[name]), call.shape("query")[-3]
    if not call.arguments.get("enable_gqa") or operand.shape[-3] == heads:
        return operand
    axes, shape = list(operand.axes), list(operand.shape)
    axis = axes[-3]
    axes[-3] = None if axis is None else axis.repeat(heads // shape[-3], axis=0)
    shape[-3] = heads
    return Operand(tuple(axes), tuple(shape))


def einsum(call: Call) -> Axes | None:
    """Follow letters: those that are not in the result are summed over."""
    terms = letters(call["equation"])
    if terms is None:
        return None
    inputs, result = terms
    flow, owners = call.flow, list(call["tensors"])
    seen: dict[str, list[tuple[Node, Axis]]] = {}
    for node, term in zip(owners, inputs, strict=True):
        for letter, axis, size in zip(term, flow.axes[node], flow.shapes[node], strict=True):
            if size > 1:
                seen.setdefault(letter, []).append((node, axis))
    activations = [node for node in owners if node not in flow.weights]
    for letter, uses in seen.items():
        _follow(flow, call, uses, summed=letter not in result)
        if len(activations) > 1 and letter in result:
            flow.role(uses[0][1], "batch" if len(uses) > 1 else "free")
    return tuple(_joined(flow, call, seen.get(letter, [])) for letter in result)


def _follow(flow: Flow, call: Call, uses: list[tuple[Node, Axis]], *, summed: bool) -> None:
    of_weights = [axis for node, axis in uses if node in flow.weights]
    for axis in of_weights:
        if summed:
            flow.read(axis)
        else:
            flow.write(axis)
    if not summed:
        return
    axis = _joined(flow, call, uses)
    if not of_weights:
        flow.mix(axis, call.operator)
        if len(uses) > 1:
            flow.role(axis, "contracted")


def _joined(flow: Flow, call: Call, uses: list[tuple[Node, Axis]]) -> Axis:
    return flow.join_all([axis for _, axis in uses], call.operator) if uses else None


def letters(equation: str) -> tuple[list[str], str] | None:
    """Return the terms of an Einstein sum; None for diagonals and dots."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if "." in equation or any(len(set(term)) < len(term) for term in terms):
        return None
    if not arrow:
        every = "".join(terms)
        result = "".join(sorted(letter for letter in set(every) if every.count(letter) == 1))
    return terms, result


def bilinear(call: Call) -> Axes:
    """Weigh the products of two inputs' values."""
    flow, first, second = call.flow, call.axes("input1"), call.axes("input2")
    made, left, right = call.axes("weight")
    flow.join(first[-1], left, call.operator)
    flow.join(second[-1], right, call.operator)
    flow.read(left)
    flow.read(right)
    flow.write(made)
    if call.given("bias"):
        made = flow.join(made, call.axes("bias")[0], call.operator)
    return (*first[:-1], made)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("matmul", "mm", "bmm"), matmul),
    **dict.fromkeys(("addmm", "baddbmm"), added_matmul),
    "scaled_dot_product_attention": attention,
    "einsum": einsum,
    "bilinear": bilinear,
}
