"""What a law advises: how to split a budget, how flat the optimum is, what serving costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from modelscale.scaling.points import FLOPS_PER_PARAMETER_AND_TOKEN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.scaling.fitting import Frame

    Array = NDArray[np.float64]
    Curve = Callable[[Array], Array]

NEARLY = 0.005
"""By which part a loss may exceed the least one and still be as good."""

INFERENCE_FLOPS = 2.0
"""FLOPs of a forward pass, a parameter and token."""

_ZOOMS, _PLACES = 9, 41
_HALVINGS = 100
_DECADES = 9.0  # how far beyond the data an optimum is looked for


class Allocation(NamedTuple):
    """The best split of a budget under each of B laws.

    Attributes:
        parameters_B: Model size.
        tokens_B: Training tokens or examples.
        loss_B: Loss there.
        edge_B: Whether the search ended at the end of its range: the law knows no optimum.
    """

    parameters_B: Array
    tokens_B: Array
    loss_B: Array
    edge_B: NDArray[np.bool_]


def allocate(frame: Frame, z_BP: Array, compute: float) -> Allocation:
    """Return the split of `compute` FLOPs into parameters and tokens with the least loss.

    Args:
        frame: Of a law of parameters and tokens.
        z_BP: Unknowns of B laws.
        compute: The budget, 6 x parameters x tokens.
    """
    import numpy as np

    curve = along_budget(frame, z_BP, compute)
    low, high = _range(frame, compute)
    log_size, edge = _least(curve, np.full(len(z_BP), low), np.full(len(z_BP), high))
    size = np.exp(log_size)
    loss = curve(log_size[:, None])[:, 0]
    return Allocation(size, compute / (FLOPS_PER_PARAMETER_AND_TOKEN * size), loss, edge)


def along_budget(frame: Frame, z_BP: Array, compute: float) -> Curve:
    """Return the function from log sizes (B, Q) to the losses (B, Q) at a fixed budget."""
    import numpy as np

    def curve(log_size_BQ: Array) -> Array:
        size = np.exp(log_size_BQ)
        return loss_at(frame, z_BP, size, compute / (FLOPS_PER_PARAMETER_AND_TOKEN * size))

    return curve


def loss_at(frame: Frame, z_BP: Array, size_BQ: Array, tokens_BQ: Array) -> Array:
    """Return losses (B, Q) of each law at its own sizes and tokens; no token is repeated."""
    import numpy as np

    columns = [column[:, None] for column in frame.theta(z_BP).T]
    given = {"parameters": size_BQ, "tokens": tokens_BQ, "unique_tokens": tokens_BQ}
    with np.errstate(all="ignore"):
        logs = np.real(frame.law.log_loss(columns, *frame.logs_of(given)))
    losses: Array = np.exp(logs) * frame.loss
    return losses


class Range(NamedTuple):
    """Sizes between which a budget is spent nearly as well as at the best one, (B,) each."""

    low_B: Array
    high_B: Array


def nearly_optimal(
    frame: Frame, z_BP: Array, compute: float, best: Allocation, within: float = NEARLY
) -> Range:
    """Return the sizes at which the loss is within a part of the least one."""
    import numpy as np

    curve = along_budget(frame, z_BP, compute)
    low, high = _range(frame, compute)
    middle = np.log(best.parameters_B)
    most = best.loss_B * (1 + within)
    ends = [
        _crossing(lambda x: curve(x[:, None])[:, 0] - most, middle, np.full(len(middle), end))
        for end in (low, high)
    ]
    return Range(np.exp(ends[0]), np.exp(ends[1]))


class Serving(NamedTuple):
    """The cheapest model of a given quality, training and use together, (B,) each.

    Attributes:
        parameters_B: Its size.
        tokens_B: Tokens to train it on.
        total_B: FLOPs of training and inference together.
        saved_B: Part of the reference's FLOPs that it saves.
    """

    parameters_B: Array
    tokens_B: Array
    total_B: Array
    saved_B: Array


def serve(
    frame: Frame, z_BP: Array, parameters: float, tokens: float | None, inference: float
) -> Serving:
    """Return the model that is as good as a reference and costs least over its life.

    Costs are 6 N D for training and 2 N a token of inference (Sardana et al.,
    arXiv:2401.00448).

    Args:
        frame: Of a law of parameters and tokens.
        z_BP: Unknowns of B laws.
        parameters: The reference's size.
        tokens: What it was trained on; None means the amount for which its size is optimal.
        inference: Tokens that will be served.
    """
    import numpy as np

    B = len(z_BP)
    size = np.full(B, parameters)
    seen = np.full(B, tokens) if tokens is not None else tokens_for(frame, z_BP, parameters)
    goal = loss_at(frame, z_BP, size[:, None], seen[:, None])
    train, use = FLOPS_PER_PARAMETER_AND_TOKEN, INFERENCE_FLOPS * inference

    def needed(log_size: Array) -> Array:
        shape = log_size.shape
        low = np.full(shape, np.log(seen.min()) - 12)
        high = np.full(shape, np.log(seen.max()) + 25)
        for _ in range(60):
            middle = 0.5 * (low + high)
            good = loss_at(frame, z_BP, np.exp(log_size), np.exp(middle)) <= goal
            low, high = np.where(good, low, middle), np.where(good, middle, high)
        reached = loss_at(frame, z_BP, np.exp(log_size), np.exp(high)) <= goal * (1 + 1e-9)
        return np.where(reached, high, np.inf)

    def cost(log_size: Array) -> Array:
        total: Array = log_size + np.log(train * np.exp(needed(log_size)) + use)
        return total

    middle = np.log(size)
    found, _ = _least(cost, middle - np.log(100), middle + np.log(10), zooms=6)
    total = np.exp(cost(found[:, None])[:, 0])
    reference = size * (train * seen + use)
    return Serving(
        np.exp(found), np.exp(needed(found[:, None])[:, 0]), total, 1 - total / reference
    )


def tokens_for(frame: Frame, z_BP: Array, parameters: float) -> Array:
    """Return the tokens (B,) for which a size is the compute-optimal one."""
    import numpy as np

    low = np.full(len(z_BP), np.log(parameters) - 12)
    high = low + 30
    for _ in range(60):
        middle = 0.5 * (low + high)
        slope = []
        for move in (-1e-4, 1e-4):  # along a budget: larger models see fewer tokens
            size = np.full((len(z_BP), 1), parameters * np.exp(move))
            slope.append(loss_at(frame, z_BP, size, np.exp(middle - move)[:, None])[:, 0])
        want_more = slope[1] > slope[0]  # the optimum is smaller: the budget is too small
        low, high = np.where(want_more, middle, low), np.where(want_more, high, middle)
    tokens: Array = np.exp(0.5 * (low + high))
    return tokens


def _range(frame: Frame, compute: float) -> tuple[float, float]:
    """Return the log sizes between which an optimum is looked for."""
    import numpy as np

    sizes, tokens = frame.points.inputs["parameters"], frame.points.inputs["tokens"]
    far = _DECADES * np.log(10)
    budget = np.log(compute / FLOPS_PER_PARAMETER_AND_TOKEN)
    low = min(np.log(sizes.min()), budget - np.log(tokens.max())) - far / 3
    high = max(np.log(sizes.max()), budget - np.log(tokens.min())) + far / 3
    return float(low), float(high)


def _least(
    curve: Curve, low: Array, high: Array, zooms: int = _ZOOMS
) -> tuple[Array, NDArray[np.bool_]]:
    """Return where curves are least, (B,), and whether that is at an end."""
    import numpy as np

    first, last = low.copy(), high.copy()
    steps = np.linspace(0, 1, _PLACES)
    rows = np.arange(len(low))
    for _ in range(zooms):
        places = low[:, None] + (high - low)[:, None] * steps
        values = np.nan_to_num(curve(places), nan=np.inf, posinf=np.inf)
        at = np.argmin(values, axis=1)
        if zooms > 1 and ((high - low) < 1e-3).all():
            break  # nearer, rounding decides: a parabola is more exact
        low = places[rows, np.maximum(at - 1, 0)]
        high = places[rows, np.minimum(at + 1, _PLACES - 1)]
    middle = 0.5 * (low + high)
    width = np.maximum(0.5 * (high - low), 5e-4)
    left, centre, right = (curve((middle + k * width)[:, None])[:, 0] for k in (-1, 0, 1))
    with np.errstate(all="ignore"):
        move = 0.5 * width * (left - right) / (left - 2 * centre + right)
    found = middle + np.clip(np.nan_to_num(move, posinf=0.0, neginf=0.0), -width, width)
    span = 1e-2 * (last - first)
    edge = (found < first + span) | (found > last - span)
    return np.clip(found, first, last), edge


def _crossing(above: Callable[[Array], Array], inside: Array, outside: Array) -> Array:
    """Return where functions (B,) turn from below zero to above; `outside` if they do not."""
    import numpy as np

    good, bad = inside.copy(), outside.copy()
    never = above(outside) <= 0
    for _ in range(_HALVINGS):
        middle = 0.5 * (good + bad)
        beyond = above(middle) > 0
        good, bad = np.where(beyond, good, middle), np.where(beyond, middle, bad)
    return np.where(never, outside, good)
