"""Adam's rule (Kingma & Ba, arXiv:1412.6980), shared by the kinds that are built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.optimizers.base import Hypers, Number, Slots

SLOTS = ("mean", "square")


def adam_step(theta: Tensor, grad: Tensor, slots: Slots, hypers: Hypers, step: Number) -> None:
    """Take one Adam step in place; the arguments are those of `OptimizerSpec.update`.

    The bias corrections are folded into the step size and eps, so that no pass over the
    parameters is spent on them.
    """
    import torch

    beta1, beta2 = hypers["beta1"], hypers["beta2"]
    mean, square = slots["mean"], slots["square"]
    mean.lerp_(grad, 1 - beta1)
    square.lerp_(grad.mul_(grad), 1 - beta2)
    root = _missing(beta2, step) ** 0.5
    torch.sqrt(square, out=grad).add_(hypers["eps"] * root)
    torch.div(mean, grad, out=grad).mul_(hypers["lr"] * root / _missing(beta1, step))
    theta.sub_(grad)


def _missing(beta: Number, step: Number) -> Number:
    """Return 1 - beta**step, the part of a running mean that its start at zero leaves."""
    if isinstance(step, (int, float)):
        return 1 - beta**step
    # In float64: 1 - beta**step of a young mean loses half the digits of float32.
    return (1 - beta ** step.double()).float()


def adam_rows(
    theta: Tensor, grad: Tensor, slots: Slots, hypers: list[dict[str, float]], steps: list[int]
) -> bool:
    """Take the step of each row with torch's fused kernel: one pass over the memory.

    Decays by the rows' `weight_decay`, decoupled, where there is one. The kernel is called
    without `torch.optim` around it, which costs more than a small network's whole update.

    Returns:
        Whether it was done; False where this torch has no such kernel.
    """
    import torch

    kernel = getattr(torch, "_fused_adamw_", None)
    if kernel is None:
        return False
    # One tensor for all rows of an age, and most often all rows are of one age.
    taken = {step: [torch.tensor(float(step), device=theta.device)] for step in set(steps)}
    parts = (theta, grad, slots["mean"], slots["square"])
    rows = zip(*(part.unbind() for part in parts), strict=True)
    for numbers, step, row in zip(hypers, steps, rows, strict=True):
        theta_P, grad_P, mean_P, square_P = row
        kernel(
            *([theta_P], [grad_P], [mean_P], [square_P], [], taken[step]),
            lr=numbers["lr"],
            beta1=numbers["beta1"],
            beta2=numbers["beta2"],
            weight_decay=numbers.get("weight_decay", 0.0),
            eps=numbers["eps"],
            amsgrad=False,
            maximize=False,
        )
    return True
