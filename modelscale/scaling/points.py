"""Measured points: what was trained, how large, on how much, and how well it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FLOPS_PER_PARAMETER_AND_TOKEN = 6.0
"""Training FLOPs: two a multiply-add, in the forward pass once and in the backward twice
(Kaplan et al., arXiv:2001.08361)."""


@dataclass(frozen=True)
class Points:
    """M measured points.

    Attributes:
        inputs: Each (M,), positive: `parameters`, `tokens`, `unique_tokens`, `compute` in
            FLOPs, or any other size by its name.
        loss_M: Positive; whatever falls: a loss, an error rate, an RMSE.
        weight_M: How much each point counts, 1 on average; 0 leaves it out.
        group_M: Points of one group share their luck (seeds of one rung do not; measurements
            along one training run do) and are resampled together.
        row_M: Where each point stands in its table, for messages.
    """

    inputs: Mapping[str, Array]
    loss_M: Array
    weight_M: Array
    group_M: NDArray[np.int64]
    row_M: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.loss_M)

    def only(self, keep_M: NDArray[np.bool_]) -> Points:
        """Return some of the points."""
        return replace(
            self,
            inputs={name: values[keep_M] for name, values in self.inputs.items()},
            loss_M=self.loss_M[keep_M],
            weight_M=self.weight_M[keep_M],
            group_M=self.group_M[keep_M],
            row_M=self.row_M[keep_M],
        )


def points(
    inputs: Mapping[str, Array],
    loss_M: Array,
    weight_M: Array | None = None,
    group_M: NDArray[np.int64] | None = None,
    row_M: NDArray[np.int64] | None = None,
) -> Points:
    """Return measured points, with what follows from their inputs.

    Args:
        inputs: By name, each (M,). Of `parameters`, `tokens` and `compute` two are enough:
            compute is 6 x parameters x tokens.
        loss_M: The measured losses.
        weight_M: Relative weights; all 1 by default.
        group_M: Numbers of groups; by default each point is its own.
        row_M: Row numbers; by default from 0.

    Raises:
        ValueError: If a value is not finite and positive.
    """
    import numpy as np

    loss = np.asarray(loss_M, dtype=float)
    columns = {name: np.asarray(values, dtype=float) for name, values in inputs.items()}
    for name, values in {**columns, "loss": loss}.items():
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"{name}: all values must be finite and above 0")
    weight = np.ones(len(loss)) if weight_M is None else np.asarray(weight_M, dtype=float)
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.sum() > 0:
        raise ValueError("weight: all must be finite, none below 0 and one above 0")
    return Points(
        with_derived(columns),
        loss,
        weight / weight[weight > 0].mean(),
        np.arange(len(loss)) if group_M is None else np.asarray(group_M, dtype=np.int64),
        np.arange(len(loss)) if row_M is None else np.asarray(row_M, dtype=np.int64),
    )


def with_derived(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return inputs with the third of parameters, tokens and compute where two are known."""
    known = dict(inputs)
    factor = FLOPS_PER_PARAMETER_AND_TOKEN
    if {"parameters", "tokens"} <= known.keys() and "compute" not in known:
        known["compute"] = factor * known["parameters"] * known["tokens"]
    elif {"parameters", "compute"} <= known.keys() and "tokens" not in known:
        known["tokens"] = known["compute"] / (factor * known["parameters"])
    elif {"tokens", "compute"} <= known.keys() and "parameters" not in known:
        known["parameters"] = known["compute"] / (factor * known["tokens"])
    return known
