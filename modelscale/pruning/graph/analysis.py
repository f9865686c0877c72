"""Running the rules over a graph, twice: to learn what views split, and then in earnest."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from modelscale.pruning.graph.atoms import Axes
from modelscale.pruning.graph.flow import Call, Flow, Note, Rule, Several
from modelscale.pruning.graph.roles import AttentionCut, Roles
from modelscale.pruning.graph.rules import (
    elementwise,
    joining,
    layers,
    products,
    recurrent,
    reductions,
    shapes,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **layers.RULES,
    **shapes.RULES,
    **joining.RULES,
    **reductions.RULES,
    **products.RULES,
    **recurrent.RULES,
}

# They make no tensor that anything else reads.
SILENT = {"sym_size", "_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range"}


def follow(module: GraphModule, attention: AttentionCut) -> tuple[Flow, dict[str, Axes]]:
    """Return what must be cut together in a graph, and the axes of each weight by its name.

    A weight that has several names is told under the first of them.

    Args:
        module: An exported network.
        attention: Whether attention loses whole heads, or every head gets smaller.
    """
    probe = Flow(None)
    _visit_all(probe, module)
    roles = Roles(probe)
    flow = Flow(roles.preferences(attention))
    weights = _visit_all(flow, module)
    for choice, (part, axis) in flow.kept.items():
        flow.kinds.append(Note(axis.ravel(), roles.kind(choice, part)))
    return flow, weights


def _visit_all(flow: Flow, module: GraphModule) -> dict[str, Axes]:
    weights = _Weights(module)
    for node in module.graph.nodes:
        _note_shape(flow, node)
        if node.op == "placeholder":
            flow.axes[node] = _whole(flow, node)
        elif node.op == "get_attr":
            weights.visit(flow, node)
        elif node.op == "output":
            for tensor in flow.tensors(list(node.args)):
                for axis in flow.axes[tensor]:
                    flow.freeze(axis, "output")
        else:
            _visit_call(flow, node)
    return weights.axes


class _Weights:
    """The parameters and buffers of a graph; one tensor has one set of atoms."""

    def __init__(self, module: GraphModule) -> None:
        self.axes: dict[str, Axes] = {}
        self._tensors: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
        self._tensors |= dict(module.named_buffers(remove_duplicate=False))
        self._of: dict[int, Axes] = {}

    def visit(self, flow: Flow, node: Node) -> None:
        name = str(node.target)
        tensor = self._tensors.get(name)
        if node not in flow.shapes:
            return  # a number, or a graph within the graph
        flow.weights.add(node)
        if tensor is None or not tensor.is_floating_point():
            flow.axes[node] = _whole(flow, node)
            return
        if id(tensor) not in self._of:
            self._of[id(tensor)] = tuple(
                flow.atoms.fresh(size) if size > 1 else None for size in tensor.shape
            )
            self.axes[name] = self._of[id(tensor)]
        flow.axes[node] = self._of[id(tensor)]


def _note_shape(flow: Flow, node: Node) -> None:
    value = node.meta.get("val")
    shape = getattr(value, "shape", None)
    if shape is None or not hasattr(value, "dtype"):
        return
    flow.shapes[node] = tuple(_hint(size) for size in shape)
    flow.free_sizes |= {(node, d) for d, size in enumerate(shape) if not isinstance(size, int)}


def _hint(size: Any) -> int:
    return size if isinstance(size, int) else int(size.node.hint)


def _whole(flow: Flow, node: Node) -> Axes:
    return (None,) * len(flow.shapes.get(node, ()))


def _visit_call(flow: Flow, node: Node) -> None:
    if node.target is operator.getitem:
        _take(flow, node)
        return
    call = call_of(flow, node)
    if call is None:
        return  # arithmetic of sizes
    inputs = list(flow.tensors(call.arguments))
    if inputs and all(tensor in flow.weights for tensor in inputs):
        flow.weights.add(node)
    rule = RULES.get(call.operator)
    found = rule(call) if rule is not None else None
    if found is None:
        _stop_at(flow, node, call)
    elif isinstance(found, Several):
        flow.several[node] = found
    else:
        assert len(found) == len(flow.shapes[node]), f"{node}: {call.operator}"
        flow.axes[node] = found


def _stop_at(flow: Flow, node: Node, call: Call) -> None:
    """Keep everything that an operator without a rule touches."""
    if call.operator in SILENT:
        return
    for tensor in flow.tensors(call.arguments):
        for axis in flow.axes[tensor]:
            flow.freeze(axis, call.operator)
    flow.stopped.add(call.operator)
    if node in flow.shapes:
        flow.axes[node] = _whole(flow, node)


def _take(flow: Flow, node: Node) -> None:
    source, place = node.args
    outputs = flow.several.get(source)  # type: ignore[arg-type]
    if node not in flow.shapes:
        return
    if outputs is None:
        flow.axes[node] = _whole(flow, node)
        return
    if source in flow.weights:
        flow.weights.add(node)
    flow.axes[node] = outputs.outputs[place]  # type: ignore[index]


def call_of(flow: Flow, node: Node) -> Call | None:
    """Return a call with its arguments by name, None for arithmetic of sizes."""
    schema = getattr(node.target, "_schema", None)
    name = schema.name.partition("::")[2] if schema is not None else str(node.target)
    arguments: dict[str, Any] = {}
    if schema is not None:
        for place, argument in enumerate(schema.arguments):
            if place < len(node.args):
                arguments[argument.name] = node.args[place]
            else:
                default = argument.default_value if argument.has_default_value() else None
                arguments[argument.name] = node.kwargs.get(argument.name, default)
    else:
        arguments = {str(place): value for place, value in enumerate(node.args)}
        if node not in flow.shapes and not any(True for _ in flow.tensors(arguments)):
            return None
    if name not in RULES and name.endswith("_"):
        name = name[:-1]  # the same, written in place
    return Call(flow, node, name, arguments)
