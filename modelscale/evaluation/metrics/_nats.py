"""What metrics of language models have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def mean_nats(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return the mean nats a symbol, (…) float64.

    Args:
        predictions: (…, N, 1) mean nats of each window.
        targets: (…, N, 1) those of the plainest model, which do not matter here; their leading
            dimensions broadcast.
    """
    import torch

    nats, _ = torch.broadcast_tensors(predictions.double(), targets)
    mean: Tensor = nats.mean((-2, -1))
    return mean
