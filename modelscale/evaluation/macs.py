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
    return copy.deepcopy(module, copies)


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
