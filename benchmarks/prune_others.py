"""What other libraries make of a trained network: cut or masked, then fine-tuned."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelscale.commands.experiment import Experiment
from modelscale.commands.trained_model import TrainedModel
from modelscale.data.loading import load, prepare
from modelscale.data.prepared import Prepared
from modelscale.evaluation.macs import count_macs, parameter_count
from modelscale.pruning.calibration import recalibrate
from modelscale.spec.loader import load_text

RATE = 5e-4
BATCH = 64


class Found(NamedTuple):
    """What a network was worth after its fine-tuning, on the test part, and what it costs."""

    accuracy: float
    macs: int
    parameters: int


def prepared(text: str) -> Prepared:
    """Return the data of a spec as its networks see it."""
    experiment = load_text(text, "spec", Experiment).spec
    loaded = load(experiment.data, None)
    return prepare(loaded, 0, "onehot", experiment.data, torch.device("cpu"))


def train_on(
    network: nn.Module, text: str, seed: int, epochs: int, rate: float = RATE
) -> float:
    """Fine-tune a network in place at a constant rate; return its accuracy on the test part."""
    data = prepared(text)
    rows, draws = data.rows["train"], torch.Generator().manual_seed(seed)
    recalibrate(network, (data.x.take(some) for some in rows.split(256)))
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.05)
    for _ in range(epochs):
        network.train()
        for some in rows[torch.randperm(len(rows), generator=draws)].split(BATCH):
            loss = F.cross_entropy(network(data.x.take(some)), data.y[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return accuracy_of(network.eval(), data)


def accuracy_of(call: Callable[[Tensor], Tensor], data: Prepared) -> float:
    """Return the accuracy of what computes outputs, on the test part."""
    test = data.rows["test"]
    with torch.no_grad():
        found = call(data.x.take(test).contiguous()).argmax(1)
    return float((found == data.y[test]).float().mean())


def fine_tuned(
    source: TrainedModel, network: nn.Module, text: str, seed: int, epochs: int
) -> Found:
    """Return accuracy, MACs and parameters of a network after plain fine-tuning."""
    accuracy = train_on(network, text, seed, epochs)
    shape = source.model.inputs.shape
    return Found(accuracy, count_macs(network, shape), parameter_count(network))


def torch_pruning(source: TrainedModel, share: float) -> nn.Module:
    """Return the network cut by Torch-Pruning's magnitude pruner to a share of the MACs.

    It is given what it needs: trainable parameters, and a bias of zeros where a batch norm has
    none, without which it raises.

    Raises:
        LookupError: If no ratio that it is asked for gives a network of so few MACs that runs.
    """
    import torch_pruning as tp

    shape = source.model.inputs.shape
    most = 1.02 * share * count_macs(source.model.network, shape)
    fault = "no ratio reaches the target"
    for ratio in (k / 40 for k in range(2, 40)):
        network = _with_biases(copy.deepcopy(source.model.network))
        last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
        try:
            pruner = tp.pruner.MagnitudePruner(
                network,
                torch.rand(1, *shape),
                importance=tp.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=ratio,
                global_pruning=True,
                ignored_layers=[last],
                round_to=4,
            )
            pruner.step()
            if count_macs(network, shape) <= most:
                return network
        except Exception as error:  # noqa: BLE001  (it fails in any way; others may run)
            fault = f"{type(error).__name__}: {error}".splitlines()[0]
    raise LookupError(fault)


def _with_biases(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.bias is None:
            module.bias = nn.Parameter(torch.zeros_like(module.weight))
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return network


def masks(source: TrainedModel, sparsity: float = 0.9) -> nn.Module:
    """Return the network with so many of its weights masked by PyTorch's own tool."""
    from torch.nn.utils import prune as torch_prune

    network = copy.deepcopy(source.model.network)
    layers = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    torch_prune.global_unstructured(
        [(layer, "weight") for layer in layers], torch_prune.L1Unstructured, amount=sparsity
    )
    return network
