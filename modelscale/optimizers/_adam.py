"""Adam's rule (Kingma & Ba, arXiv:1412.6980), shared by the kinds that are built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.optimizers.base import Hypers, Slots

SLOTS = ("mean", "square")


def adam_step(theta: Tensor, grad: Tensor, slots: Slots, hypers: Hypers, step: int) -> None:
    """Take one Adam step in place; the arguments are those of `OptimizerSpec.update`.

    The bias corrections are folded into the step size and eps, so that no pass over the
    parameters is spent on them.
    """
    import torch

    beta1, beta2 = hypers["beta1"], hypers["beta2"]
    mean, square = slots["mean"], slots["square"]
    mean.lerp_(grad, 1 - beta1)
    square.lerp_(grad.mul_(grad), 1 - beta2)
    root = (1 - beta2**step) ** 0.5
    torch.sqrt(square, out=grad).add_(hypers["eps"] * root)
    torch.div(mean, grad, out=grad).mul_(hypers["lr"] * root / (1 - beta1**step))
    theta.sub_(grad)


def adam_rows(
    theta: Tensor, grad: Tensor, slots: Slots, hypers: list[dict[str, float]], step: int
) -> None:
    """Take the step of each row with torch's fused kernel: one pass over the memory.

    Decays by the rows' `weight_decay`, decoupled, where there is one.
    """
    import torch
    from torch.optim.adamw import adamw

    mean, square = slots["mean"], slots["square"]
    for k, row in enumerate(hypers):
        adamw(
            [theta[k]],
            [grad[k]],
            [mean[k]],
            [square[k]],
            [],
            [torch.tensor(float(step - 1), device=theta.device)],
            fused=True,
            amsgrad=False,
            beta1=row["beta1"],
            beta2=row["beta2"],
            lr=row["lr"],
            weight_decay=row.get("weight_decay", 0.0),
            eps=row["eps"],
            maximize=False,
        )
