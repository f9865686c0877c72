"""2:4 sparse linear layers on the kernels that NVIDIA's cards have for them.

The kernels compute in half precision, on cards of compute capability 8.0 and later, and take
weights whose sizes are multiples of 64. Whether they are faster is measured, never assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_LEAST_CAPABILITY = (8, 0)
_MULTIPLE = 64
_TOLERANCE = 0.02
"""Of half-precision answers that two kernels may give, as a share of the largest."""


@dataclass(frozen=True)
class Accelerated:
    """A network on sparse kernels.

    Attributes:
        dense: The same in half precision on dense kernels: what to time it beside.
        sparse: With its layers converted.
        layers: Which ones.
    """

    dense: nn.Module
    sparse: nn.Module
    layers: tuple[str, ...]


def refusal(device: torch.device) -> str | None:
    """Return why a device has no such kernels; None where it has."""
    import torch

    if device.type != "cuda":
        return "no CUDA device, and only those have 2:4 kernels"
    if torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
        return "the card is older than compute capability 8.0, and has no 2:4 kernels"
    return None


def convertible(network: nn.Module) -> tuple[str, ...]:
    """Return the linear layers that have the pattern and sizes that the kernels take."""
    from torch import nn

    return tuple(
        name
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear)
        and layer.in_features % _MULTIPLE == layer.out_features % _MULTIPLE == 0
        and int(layer.weight.detach().ne(0).reshape(-1, 4).sum(1).max()) <= 2
    )


def accelerated(
    network: nn.Module, examples: Tensor, device: torch.device
) -> Accelerated | str:
    """Return a network on sparse kernels, or why it cannot be.

    Args:
        network: With the pattern; it is left as it is.
        examples: (B, …) inputs that both forms must answer alike.
        device: Where it runs.
    """
    import torch
    from torch import nn

    from modelscale.models.modules.exported import twin_of

    why = refusal(device)
    names = convertible(network)
    if why is not None or not names:
        return why or f"no linear layer of sizes in multiples of {_MULTIPLE} has the pattern"
    dense = twin_of(network).eval().to(device).half()
    sparse = twin_of(dense)
    try:
        for name in names:
            layer = sparse.get_submodule(name)
            values = layer.get_parameter("weight").detach()
            weight = torch.sparse.to_sparse_semi_structured(values)
            layer.register_parameter("weight", nn.Parameter(weight, requires_grad=False))
        with torch.no_grad():
            x = examples.to(device).half()
            wanted, found = dense(x).float(), sparse(x).float()
    except (RuntimeError, NotImplementedError, TypeError) as error:
        return f"the kernels refuse: {str(error).splitlines()[0]}"
    if float((wanted - found).abs().max()) > _TOLERANCE * float(wanted.abs().max()) + 1e-3:
        return "the sparse kernels answer otherwise than the dense ones"
    return Accelerated(dense, sparse, names)
