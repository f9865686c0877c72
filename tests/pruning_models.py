"""Small trained-looking models for the tests of pruning."""

import torch
from torch import nn

from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.pruning.evidence import Evidence
from modelscale.pruning.structure import find_units
from modelscale.tensors import Inputs

IMAGE = (1, 8, 8)


def network_of(section, shape=IMAGE, outputs=10, seed=0):
    """Return a network with rough weights and batch-norm statistics."""
    torch.manual_seed(seed)
    network = ModelSpec.model_validate(section).build(Inputs(shape), outputs)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.2, 1.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def batches_of(shape=IMAGE, outputs=10, count=3, size=8):
    """Return batches of random inputs and classes."""
    draws = torch.Generator().manual_seed(1)
    return [
        (
            torch.rand(size, *shape, generator=draws),
            torch.randint(outputs, (size,), generator=draws),
        )
        for _ in range(count)
    ]


def evidence_of(network, shape=IMAGE, seed=0):
    """Return the network's units and what criteria look at."""
    structure = find_units(network, (torch.rand(2, *shape),), prove=False)
    loss = LossSpec.model_validate("cross_entropy").resolved((1,) * 10)
    return structure, Evidence(network, structure.groups, batches_of(shape), loss, seed)
