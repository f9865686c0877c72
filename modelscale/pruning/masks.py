"""Which single weights become zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def prunable(network: nn.Module) -> list[str]:
    """Return the kernels and matrices of linear layers and convolutions, each once."""
    from torch import nn
    from torch.nn.modules.conv import _ConvNd

    seen: set[int] = set()
    names = []
    for path, layer in network.named_modules():
        if isinstance(layer, (nn.Linear, _ConvNd)) and id(layer.weight) not in seen:
            seen.add(id(layer.weight))
            names.append(f"{path}.weight".lstrip("."))
    return names


def by_sparsity(
    scores: Mapping[str, Tensor], sparsity: float, *, per_layer: bool
) -> dict[str, Tensor]:
    """Return masks of the weights that stay, so that a share of all is zero.

    Args:
        scores: How much each weight matters, by tensor.
        sparsity: Share of the weights that goes, rounded to whole weights.
        per_layer: Whether every tensor loses that share, or they are compared.
    """
    import torch

    if per_layer:
        return {
            name: by_sparsity({name: score}, sparsity, per_layer=False)[name]
            for name, score in scores.items()
        }
    flat = torch.cat([score.reshape(-1) for score in scores.values()])
    kept = torch.ones(len(flat), dtype=torch.bool)
    gone = round(sparsity * len(flat))
    kept[flat.argsort(stable=True)[:gone]] = False
    pieces = kept.split([score.numel() for score in scores.values()])
    return {
        name: piece.view(score.shape)
        for (name, score), piece in zip(scores.items(), pieces, strict=True)
    }


def by_threshold(scores: Mapping[str, Tensor], threshold: float) -> dict[str, Tensor]:
    """Return masks of the weights whose score is not below a threshold."""
    return {name: score >= threshold for name, score in scores.items()}


def by_pattern(scores: Mapping[str, Tensor], kept: int, of: int) -> dict[str, Tensor]:
    """Return masks that keep the best `kept` of each `of` weights along a row's inputs.

    A row holds all weights of one output; tensors whose rows are no multiple of `of` long are
    left whole.
    """
    import torch

    masks = {}
    for name, score in scores.items():
        rows = score.reshape(score.shape[0], -1)
        if rows.shape[1] % of:
            masks[name] = torch.ones(score.shape, dtype=torch.bool)
            continue
        blocks = rows.reshape(-1, of)
        best = blocks.argsort(dim=1, descending=True, stable=True)[:, :kept]
        mask = torch.zeros(blocks.shape, dtype=torch.bool).scatter_(1, best, value=True)
        masks[name] = mask.view(score.shape)
    return masks


def cubic(sparsity: float, share: float) -> float:
    """Return the sparsity after a share of the ramp (Zhu and Gupta, arXiv:1710.01878)."""
    return sparsity * (1 - (1 - min(1.0, share)) ** 3)
