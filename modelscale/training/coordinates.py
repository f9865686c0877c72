"""By how much the first steps change what each layer of a network says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from modelscale.models.modules.widths import QueriesFirst
from modelscale.training.batches import Epoch
from modelscale.training.cohort import Cohort, Weights
from modelscale.training.replica import Replica
from modelscale.training.step import Stepper

Hook = Callable[[nn.Module, object, Tensor], None]

OUTPUT = "output"
SCORES = "scores"
_LAYERS = (nn.Linear, nn.Embedding, _ConvNd)


def changes_of(replicas: list[Replica], device: torch.device, steps: int) -> dict[str, float]:
    """Return the mean absolute change of each layer's outputs on a batch of training examples.

    Layers are those that multiply with a matrix; of attention also the scores, and the queries
    in these alone. `output` is what the network says. It is looked at without dropout. Where a
    replica's numbers leave the floating-point range, the change is infinite or NaN.

    Args:
        replicas: Of one structure; the mean is over all of them.
        device: Where to train.
        steps: Optimizer steps, at the learning rates that the replicas have for these.
    """
    cohort = Cohort.start(replicas, device)
    batch_KB = Epoch(replicas, [0] * len(replicas), device).batches(0)[0].x_KB
    cohort.set_training()
    before = [_said(cohort, k, batch_KB[k]) for k in range(len(replicas))]
    stepper = Stepper(cohort)
    per_epoch = replicas[0].steps_per_epoch
    for step in range(steps):
        epoch = Epoch(replicas, [step // per_epoch] * len(replicas), device)
        stepper.take(epoch.batches(step % per_epoch), [step + 1] * len(replicas))
    after = [_said(cohort, k, batch_KB[k]) for k in range(len(replicas))]
    pairs = list(zip(before, after, strict=True))
    return {
        layer: fmean(float((new[layer] - old[layer]).abs().mean()) for old, new in pairs)
        for layer in before[0]
    }


@torch.no_grad()
def _said(cohort: Cohort, k: int, x_B: Tensor) -> dict[str, Tensor]:
    """Return what each layer of one replica says of a batch."""
    network, weights = cohort.network, cohort.weights
    known = _copies(cohort, weights, k)
    modules = list(network.modules())
    training = [module.training for module in modules]
    network.eval()
    for module in modules:
        if isinstance(module, _NormBase):
            module.train()  # running statistics of a few steps say little
    with _listening(network) as found:
        output: Tensor = functional_call(network, known, (x_B,))
    for module, was in zip(modules, training, strict=True):
        module.training = was
    return found | {OUTPUT: output.detach().clone()}


def _copies(cohort: Cohort, weights: Weights, k: int) -> dict[str, Tensor]:
    views = cohort.layout.views(weights.theta_KP[k : k + 1].detach())
    known = {n: view[0].clone() for n, view in zip(cohort.layout.names, views, strict=True)}
    return known | {name: b_K[k].clone() for name, b_K in weights.buffers_K.items()}


@contextmanager
def _listening(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Yield a mapping that a forward pass fills with what the layers say, by their path."""
    found: dict[str, Tensor] = {}
    modules = dict(network.named_modules())
    attention = {f"{p}.qkv": m for p, m in modules.items() if isinstance(m, QueriesFirst)}

    def listener(path: str) -> Hook:
        def hear(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            if path in attention:
                places = path.removesuffix("qkv") + SCORES
                output, found[places] = _attended(output, attention[path])
            found[path] = output.detach().clone()

        return hear

    handles = [
        module.register_forward_hook(listener(path))
        for path, module in modules.items()
        if isinstance(module, _LAYERS) or (_is_leaf(module) and _has_matrix(module))
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _attended(qkv: Tensor, attention: QueriesFirst) -> tuple[Tensor, Tensor]:
    """Return keys and values (batch, positions, 2 · width), and the scores of all heads."""
    batch, positions, width = qkv.shape
    parts = qkv.view(batch, positions, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    scores = (parts[0] * attention.scale) @ parts[1].transpose(-2, -1)
    return qkv[..., width // 3 :], scores


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters(recurse=False))
