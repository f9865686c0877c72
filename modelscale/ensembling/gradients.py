"""Gradient boosting of networks (Friedman, Ann. Stat. 29, 2001), in float64.

The model is F(x) = start + Σ shrinkage · step_r · f_r(x). Each f_r is trained by least squares
on the negative gradient of the loss at F; the step along it is found by a line search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.tensors import Task

_NEWTON_STEPS = 20
_LARGEST_STEP = 100.0


def start_values(targets_N: Tensor, classes: int | None) -> Tensor:
    """Return the constant that fits best, (A,): log-shares of classes, or mean values.

    Args:
        targets_N: (N,) class indices, or (N, T) target values.
        classes: Their number; None for values.
    """
    if classes is None:
        return targets_N.double().mean(dim=0)
    counts_C = targets_N.bincount(minlength=classes).double()
    # Half an example more keeps a class that is missing from minus infinity.
    return ((counts_C + 0.5) / (counts_C.sum() + 0.5 * classes)).log()


def residuals(values_NA: Tensor, targets_N: Tensor, task: Task) -> Tensor:
    """Return the negative gradient of the loss, (N, A): what the next network is to learn.

    Args:
        values_NA: F at the examples.
        targets_N: (N,) class indices, or (N, T) target values.
        task: Log-loss for classes, half the squared error for values.
    """
    from torch.nn import functional as F

    if task == "regression":
        return targets_N.double() - values_NA
    return F.one_hot(targets_N, values_NA.shape[1]).double() - values_NA.softmax(dim=1)


def loss_of(values_NA: Tensor, targets_N: Tensor, task: Task) -> float:
    """Return the mean log-loss, or half the mean squared error summed over target values."""
    from torch.nn import functional as F

    if task == "regression":
        return float((targets_N.double() - values_NA).square().sum(dim=1).mean()) / 2
    return float(F.cross_entropy(values_NA, targets_N))


def best_step(values_NA: Tensor, direction_NA: Tensor, targets_N: Tensor, task: Task) -> float:
    """Return the step along a direction with the smallest loss; 0 where none helps.

    The loss is convex in the step, so Newton's method with halving finds it.
    """
    if task == "regression":
        power = float(direction_NA.square().sum())
        gain = float((direction_NA * (targets_N.double() - values_NA)).sum())
        return max(0.0, gain / power) if power > 0 else 0.0
    step, best = 0.0, loss_of(values_NA, targets_N, task)
    for _ in range(_NEWTON_STEPS):
        share_NC = (values_NA + step * direction_NA).softmax(dim=1)
        mean_N = (share_NC * direction_NA).sum(dim=1)
        true_N = direction_NA.gather(1, targets_N[:, None])[:, 0]
        slope = float((mean_N - true_N).mean())
        bend = float(((share_NC * direction_NA.square()).sum(dim=1) - mean_N.square()).mean())
        if bend <= 0:
            break
        move = -slope / bend
        for _ in range(_NEWTON_STEPS):
            there = min(max(step + move, 0.0), _LARGEST_STEP)
            found = loss_of(values_NA + there * direction_NA, targets_N, task)
            if found <= best:
                break
            move /= 2
        else:
            break
        done = abs(there - step) < 1e-9
        step, best = there, found
        if done:
            break
    return step
