"""The mean of several networks' weights as one network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_ROWS_AT_ONCE = 256


def mean_network(networks: Sequence[nn.Module], x: Tensor) -> nn.Module:
    """Return a network whose parameters are the mean of those of `networks`.

    Running statistics of batch norm do not follow from a mean of weights: they are measured
    anew (Izmailov et al., arXiv:1803.05407).

    Args:
        networks: Of one structure.
        x: (N, *inputs.shape) training examples, for these statistics.
    """
    from modelscale.models.modules.exported import twin_of

    made = twin_of(networks[0])
    states = [network.state_dict() for network in networks]
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.stack([state[name].double() for state in states]).mean(0))
    measure_statistics(made, x)
    return made.eval()


def measure_statistics(network: nn.Module, x: Tensor) -> None:
    """Measure the running statistics of a network's batch norms on some examples."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return
    network.eval()
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    with torch.no_grad():
        for part in x.split(_ROWS_AT_ONCE):
            if len(part) > 1:
                network(part)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    network.eval()
