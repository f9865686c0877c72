"""Statistics of batch norms that fit a network whose channels have changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> bool:
    """Replace running means and variances by the plain average over batches, in place.

    After a cut the old ones belong to sums that have lost terms: before anything is judged,
    they must be renewed, or any network looks as bad as chance.

    Args:
        network: Left in evaluation mode.
        batches: Inputs of training examples.

    Returns:
        Whether there was anything to renew.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [
        m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats
    ]
    network.eval()
    if not norms:
        return False
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the average of all batches alike
        norm.train()
    with torch.no_grad():
        for x_B in batches:
            network(x_B)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
    return True
