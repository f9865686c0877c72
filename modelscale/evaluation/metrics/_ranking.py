"""Ranking metrics of one class against the rest, exact under ties."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modelscale.evaluation.metrics._classes import mean_where

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class Ranking(NamedTuple):
    """Examples from the highest score to the lowest.

    Attributes:
        positive_N: (…, N) int64; 1 for an example of the class, in order of rank.
        first_N: (…, N) int64; position of the first example with the same score.
        last_N: (…, N) int64; position of the last one.
    """

    positive_N: Tensor
    first_N: Tensor
    last_N: Tensor


def one_against_rest(
    score: Callable[[Ranking], Tensor], predictions_NC: Tensor, targets_N: Tensor
) -> Tensor:
    """Return the score of the second of two classes, or the mean over more classes.

    Classes whose score is NaN (none or all of the examples) are left out of the mean.

    Args:
        score: Takes a ranking to (…), NaN where it is not defined.
        predictions_NC: (…, N, C) class probabilities.
        targets_N: (…, N) class indices.
    """
    import torch

    C = predictions_NC.shape[-1]
    classes = [1] if C == 2 else range(C)
    # One class at a time: sorting needs several arrays of the size of its input.
    scores_C = torch.stack(
        [score(_rank(predictions_NC[..., c], targets_N == c)) for c in classes]
    )
    scores_C = scores_C.movedim(0, -1)
    broken = predictions_NC.isnan().any(-1).any(-1)
    return mean_where(~scores_C.isnan(), scores_C).masked_fill(broken, float("nan"))


def _rank(scores_N: Tensor, positive_N: Tensor) -> Ranking:
    import torch

    N = scores_N.shape[-1]
    shape_N = torch.broadcast_shapes(scores_N.shape, positive_N.shape)
    sorted_N, order_N = scores_N.expand(shape_N).sort(dim=-1, descending=True)
    positive_N = positive_N.expand(shape_N).gather(-1, order_N).long()
    position_N = torch.arange(N, device=scores_N.device).expand(shape_N)
    starts_N = torch.ones(shape_N, dtype=torch.bool, device=scores_N.device)
    starts_N[..., 1:] = sorted_N[..., 1:] != sorted_N[..., :-1]
    ends_N = torch.ones_like(starts_N)
    ends_N[..., :-1] = starts_N[..., 1:]
    first_N = position_N.masked_fill(~starts_N, 0).cummax(-1).values
    last_N = position_N.masked_fill(~ends_N, N).flip(-1).cummin(-1).values.flip(-1)
    return Ranking(positive_N, first_N, last_N)
