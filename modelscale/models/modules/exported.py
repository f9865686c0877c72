"""A network as the graph of the operators that it runs, by `torch.export`."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import Graph, GraphModule, Node

from modelscale.models.modules.slicing import named_tensors

if TYPE_CHECKING:
    from modelscale.models.edits.cut import NodeChange, Value


Network = TypeVar("Network", bound=nn.Module)


def export_graph(network: nn.Module, examples: tuple[Tensor, ...]) -> GraphModule:
    """Return the operators of a forward pass in evaluation mode, weights under their names.

    The leading dimension of the inputs stays free where the network allows it. The result
    shares the network's tensors; the network is left as it is.

    Args:
        network: Any module; control flow must not depend on values.
        examples: Its positional inputs, each with the batch first; a batch of 1 is doubled
            since exporting would take it for a constant.

    Raises:
        ValueError: If the network cannot be exported; the message is the first line of why.
    """
    if all(x.dim() and x.shape[0] == 1 for x in examples):
        examples = tuple(torch.cat([x, x]) for x in examples)
    free = tuple({0: Dim.AUTO} if x.dim() else {} for x in examples)
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with quietly(), torch.no_grad():
            return _export(network, examples, free)
    finally:
        for module, training in modes.items():
            module.training = training


def _export(
    network: nn.Module, examples: tuple[Tensor, ...], free: tuple[dict[int, object], ...]
) -> GraphModule:
    try:
        program = torch.export.export(network, examples, dynamic_shapes=free, strict=False)
    except Exception:  # noqa: BLE001  (the exporter raises anything; a fixed batch may still do)
        try:
            program = torch.export.export(network, examples, strict=False)
        except Exception as error:  # noqa: BLE001
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(f"does not export: {lines[0]}") from None
    return _module(program)


def _module(program: ExportedProgram) -> GraphModule:
    module = program.module(check_guards=False)
    assert isinstance(module, GraphModule)
    return module


@contextmanager
def quietly() -> Iterator[None]:
    """Silence what the exporter says about networks that it exports well or refuses."""
    fast = torch.backends.mha.get_fastpath_enabled()
    names = ("torch.fx", "torch._export", "torch.export")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    # The fused encoder kernel would hide the layers inside it.
    torch.backends.mha.set_fastpath_enabled(False)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with (
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def twin_of(network: Network) -> Network:
    """Return a copy of a network, which may be a graph: torch warns about copying those."""
    with quietly():
        return copy.deepcopy(network)


def rewrite(
    module: GraphModule, network: nn.Module, changes: Sequence[NodeChange]
) -> GraphModule:
    """Return a module that runs a graph with other constants on a network's tensors.

    Args:
        module: The exported network, which stays as it is.
        network: Gives the tensors, by their names; they may have been cut since.
        changes: Constants by the nodes that have them.

    Raises:
        ValueError: If the graph has no such nodes.
    """
    with quietly():
        graph = copy.deepcopy(module.graph)
    tensors = named_tensors(network)
    root: dict[str, Any] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            name = str(node.target)
            root[name] = tensors[name] if name in tensors else _attribute(module, name)
    nodes = {node.name: node for node in graph.nodes}
    for change in changes:
        node = nodes.get(change.node)
        if node is None or str(node.target) != change.operator:
            raise ValueError(f"the network exports to another graph: no {change.node}")
        if change.becomes == "itself":
            _set_constants(node, change.arguments)
        else:
            _replace(graph, root, node, change)
    graph.lint()
    return GraphModule(root, graph)


def _attribute(module: nn.Module, name: str) -> Any:
    owner, _, leaf = name.rpartition(".")
    return getattr(module.get_submodule(owner), leaf)


def _set_constants(node: Node, arguments: Mapping[str, Value]) -> None:
    schema: Any = getattr(node.target, "_schema")  # noqa: B009  (operators are not typed)
    places = {argument.name: place for place, argument in enumerate(schema.arguments)}
    for name, value in arguments.items():
        if name not in places:
            raise ValueError(f"{node.name}: no argument is called {name}")
        place = places[name]
        positional = place < len(node.args) and name not in node.kwargs
        old = node.args[place] if positional else node.kwargs.get(name)
        new: Any = value
        if isinstance(value, tuple):
            held = list(old) if isinstance(old, (list, tuple)) else [None] * len(value)
            new = [h if v is None else v for h, v in zip(held, value, strict=True)]
        if positional:
            node.update_arg(place, new)
        else:
            node.update_kwarg(name, new)


def _replace(graph: Graph, root: dict[str, Any], node: Node, change: NodeChange) -> None:
    """Turn a node into one that takes its pieces by sizes, or positions by a list."""
    dim, values = change.arguments["dim"], change.arguments["values"]
    assert isinstance(values, tuple)
    assert isinstance(dim, int)
    if change.becomes == "split_with_sizes":
        node.target = torch.ops.aten.split_with_sizes.default
        node.args = (node.args[0], list(values), dim)
    else:
        name = f"positions_of_{node.name}"
        root[name] = torch.tensor(values, dtype=torch.int64)
        with graph.inserting_before(node):
            positions = graph.get_attr(name)
        node.target = torch.ops.aten.index_select.default
        node.args = (node.args[0], dim, positions)
    node.kwargs = {}
