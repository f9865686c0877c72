"""What mistakes cost: the table of a spec, and the decision that is cheapest on average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

if TYPE_CHECKING:
    from torch import Tensor

Cost = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _square(costs: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    if len(costs) < 2 or any(len(row) != len(costs) for row in costs):
        raise ValueError("costs needs a row and a column for each class, two or more")
    for place, row in enumerate(costs):
        if row[place] >= max(row):
            raise ValueError(
                f"costs: row {place + 1}: the right answer must cost less than a wrong one"
            )
    return costs


CostTable = Annotated[tuple[tuple[Cost, ...], ...], AfterValidator(_square)]
"""Costs by true class (rows) and decided class (columns)."""


def cheapest(predictions_NC: Tensor, cost_CC: Tensor) -> Tensor:
    """Return (…, N) int64, the class whose expected cost is least; the first among equals.

    Args:
        predictions_NC: (…, N, C) class probabilities.
        cost_CC: (C, C) costs by true and decided class.
    """
    return (predictions_NC.double() @ cost_CC.double()).argmin(-1)


def costs_of(decided_N: Tensor, targets_N: Tensor, cost_CC: Tensor) -> Tensor:
    """Return (…, N) float64, what each decision cost."""
    flat_N = targets_N * cost_CC.shape[1] + decided_N
    return cost_CC.double().flatten()[flat_N]


def table_of(costs: tuple[tuple[float, ...], ...] | None, classes: int) -> Tensor:
    """Return costs as (C, C) float64; None is 1 for every wrong answer.

    Raises:
        ValueError: If the costs are for another number of classes.
    """
    import torch

    if costs is None:
        return 1.0 - torch.eye(classes, dtype=torch.float64)
    if len(costs) != classes:
        raise ValueError(f"costs is for {len(costs)} classes, and there are {classes}")
    return torch.tensor(costs, dtype=torch.float64)
