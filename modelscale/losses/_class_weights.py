"""Weights of classes, as numbers and as tensors."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Weight = Annotated[float, Field(ge=0)]


def _some_weight(
    weights: Literal["none", "balanced"] | tuple[float, ...],
) -> Literal["none", "balanced"] | tuple[float, ...]:
    if isinstance(weights, tuple) and not any(weights):
        raise ValueError("class_weights must not all be 0")
    return weights


ClassWeights = Annotated[
    Literal["none", "balanced"] | tuple[Weight, ...], AfterValidator(_some_weight)
]


def resolve(weights: ClassWeights, class_counts: tuple[int, ...]) -> ClassWeights:
    """Return `balanced` as numbers n / (C · n_c), so that each class weighs the same in sum.

    A class without training examples gets the weight 1.

    Raises:
        ValueError: If there are more or fewer weights than classes.
    """
    if weights == "balanced":
        n, c = sum(class_counts), len(class_counts)
        return tuple(n / (c * count) if count else 1.0 for count in class_counts)
    if isinstance(weights, tuple) and len(weights) != len(class_counts):
        raise ValueError(
            f"class_weights has {len(weights)} numbers for {len(class_counts)} classes"
        )
    return weights


def as_tensor(weights: ClassWeights, device: torch.device) -> Tensor | None:
    """Return resolved weights as (C,) float32, or None where all classes weigh 1."""
    if weights == "none":
        return None
    assert isinstance(weights, tuple), "resolved() writes 'balanced' out before training"
    return _on_device(weights, device)


@lru_cache(maxsize=16)
def _on_device(weights: tuple[float, ...], device: torch.device) -> Tensor:
    """Keep the tensor: copying it to a GPU at every step would make the step wait."""
    import torch

    with torch.inference_mode(False):  # else it could never take part in a gradient
        return torch.tensor(weights, dtype=torch.float32, device=device)
