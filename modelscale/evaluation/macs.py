"""Multiply-accumulates and bytes of a network.

The convention: one MAC is one multiplication and one addition of a matrix product or a
convolution (FLOPs are two for each). Everything elementwise (biases, norm layers,
activations, softmax, pooling, look-ups) counts nothing, as in the literature on pruning and
scaling. A causal mask gives no discount.

They are counted on the meta device, where nothing is computed: on a CPU, fused kernels (LSTM,
scaled dot-product attention, the transformer encoder's fast path) are invisible to PyTorch's
counter and would count 0.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

# At batch 1, broadcasting, squeezing and vector products take other paths than at any other.
_BATCH = 2


def count_macs(module: nn.Module, inputs_shape: tuple[int, ...]) -> int:
    """Return the multiply-accumulates of a forward pass, for each example.

    Args:
        module: Maps (batch, *inputs_shape) float32 to anything; is left as it is, and is
            counted in evaluation mode.
        inputs_shape: Shape of one example, without the batch.
    """
    return count_flops(module, inputs_shape) // 2


def count_flops(module: nn.Module, inputs_shape: tuple[int, ...]) -> int:
    """Return the floating-point operations of a forward pass, for each example: 2 × MACs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    twin = _on_meta(module).eval()
    x_B = torch.empty(_BATCH, *inputs_shape, device="meta")
    counter = FlopCounterMode(display=False, custom_mapping=_more_operators())
    with torch.no_grad(), counter:
        twin(x_B)
    return int(counter.get_total_flops()) // _BATCH


def parameter_count(module: nn.Module) -> int:
    """Return the number of parameters, tied ones counted once; buffers are none."""
    return sum(p.numel() for p in module.parameters())


def parameter_bytes(module: nn.Module) -> int:
    """Return the bytes of the parameters, tied ones counted once; buffers are not counted."""
    return sum(p.numel() * p.element_size() for p in module.parameters())


def _on_meta(module: nn.Module) -> nn.Module:
    """Return a twin without values: same structure, every tensor on the meta device."""
    import torch
    from torch import nn

    # Told beforehand what each tensor's copy is, deepcopy reads and allocates no values.
    copies: dict[int, Any] = {}
    for tensor in _tensors(module):
        empty = torch.empty_like(tensor, device="meta", requires_grad=False)
        is_parameter = isinstance(tensor, nn.Parameter)
        copies[id(tensor)] = nn.Parameter(empty, requires_grad=False) if is_parameter else empty
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about its own graphs
        twin = copy.deepcopy(module, copies)
    _make_on_meta(twin)
    return twin


def _make_on_meta(module: nn.Module) -> None:
    """Let graphs, which pruning leaves of some networks, make their tensors on meta as well."""
    import torch
    from torch.fx import GraphModule

    for graph in (part for part in module.modules() if isinstance(part, GraphModule)):
        for node in graph.graph.nodes:
            if isinstance(node.kwargs.get("device"), torch.device):
                node.update_kwarg("device", torch.device("meta"))
        graph.recompile()


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Yield parameters, buffers, and tensors that are plain attributes of a layer."""
    from torch import Tensor

    yield from module.parameters()
    yield from module.buffers()
    for layer in module.modules():
        yield from (value for value in vars(layer).values() if isinstance(value, Tensor))


def _more_operators() -> dict[Any, Callable[..., int]]:
    """Return the formulas of matrix products that PyTorch's counter leaves out."""
    import torch

    aten = torch.ops.aten

    def vector(matrix: list[int], *_: Any, **__: Any) -> int:
        return 2 * prod(matrix)

    def added_vector(_: Any, matrix: list[int], *__: Any, **___: Any) -> int:
        return 2 * prod(matrix)

    def summed_batch(_: Any, left: list[int], right: list[int], *__: Any, **___: Any) -> int:
        return 2 * prod(left) * right[-1]

    def bilinear(left: list[int], weight: list[int], *_: Any, **__: Any) -> int:
        return 2 * left[0] * prod(weight)

    return {
        aten.mv: vector,
        aten.dot: vector,
        aten.addmv: added_vector,
        aten.addbmm: summed_batch,
        aten._trilinear: bilinear,
    }


@dataclass(frozen=True)
class LayerCost:
    """What one module of a network holds and costs itself, without the modules inside it.

    Attributes:
        name: Its path in the network; empty for the network itself.
        kind: Its class.
        parameters: Its own; tied ones belong to the first module that has them.
        macs: Multiply-accumulates of its own operations, for each example.
    """

    name: str
    kind: str
    parameters: int
    macs: int


def layer_costs(module: nn.Module, inputs_shape: tuple[int, ...]) -> tuple[LayerCost, ...]:
    """Return the modules that have parameters or cost something, in the network's order.

    Their parameters add up to `parameter_count`, and their MACs to `count_macs` but for
    rounding where work does not depend on the batch. Arguments are those of `count_macs`.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    twin = _on_meta(module).eval()
    x_B = torch.empty(_BATCH, *inputs_shape, device="meta")
    counter = FlopCounterMode(display=False, custom_mapping=_more_operators())
    own = {name: 0 for name, _ in twin.named_modules()}
    running: list[list[int]] = []  # of each module being called: start, and that of its inner

    def enter(_: nn.Module, __: Any) -> None:
        running.append([counter.get_total_flops(), 0])

    def leave(name: str) -> Callable[..., None]:
        def note(*_: Any) -> None:
            start, inner = running.pop()
            spent = counter.get_total_flops() - start
            own[name] += spent - inner
            if running:
                running[-1][1] += spent

        return note

    for name, layer in twin.named_modules():
        layer.register_forward_pre_hook(enter)
        layer.register_forward_hook(leave(name))
    with torch.no_grad(), counter:
        twin(x_B)
    seen: set[int] = set()
    costs = []
    for name, layer in module.named_modules():
        fresh = [p for p in layer.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, fresh))
        parameters, macs = sum(p.numel() for p in fresh), own[name] // 2 // _BATCH
        if parameters or macs:
            costs.append(LayerCost(name, type(layer).__name__, parameters, macs))
    return tuple(costs)


def activation_count(module: nn.Module, inputs_shape: tuple[int, ...]) -> int:
    """Return the numbers that the innermost modules of a network put out for one example.

    About what backpropagation keeps; numbers that are no module's output are not seen.
    """
    import torch

    twin = _on_meta(module).eval()
    counts: list[int] = []

    def note(_: nn.Module, __: Any, outputs: Any) -> None:
        if isinstance(outputs, torch.Tensor):
            counts.append(outputs.numel())

    for layer in twin.modules():
        if next(layer.children(), None) is None:
            layer.register_forward_hook(note)
    with torch.no_grad():
        twin(torch.empty(_BATCH, *inputs_shape, device="meta"))
    return sum(counts) // _BATCH
