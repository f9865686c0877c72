"""The training step: from micro-batches to new parameters, for one replica or K."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from modelscale.models.modules.noise import count_noise
from modelscale.training.batches import Batch, dropout_noise
from modelscale.training.cohort import Cohort
from modelscale.training.precision import LossScale, arithmetic
from modelscale.training.replica import Replica

if TYPE_CHECKING:
    from modelscale.optimizers.base import Number

FUSED_ROWS_FROM = 2_048
"""Parameters from which one fused kernel a replica beats elementwise passes over the stack."""


class StepReport(NamedTuple):
    """What one step measured, before it changed anything.

    Attributes:
        losses: K mean losses of the step's examples, without penalties.
        finite: Whether loss and gradient of each replica are finite; where not, it was not
            updated.
    """

    losses: list[float]
    finite: list[bool]


class Stepper:
    """Takes steps with a cohort; holds the optimizer's memory."""

    def __init__(self, cohort: Cohort) -> None:
        self.cohort = cohort
        first = cohort.replicas[0]
        self.optimizer, self.plan = first.optimizer, first.plan
        self.slots_KP = {
            name: torch.zeros_like(cohort.weights.theta_KP)
            for name in self.optimizer.slot_names
        }
        halves = self.plan.precision == "fp16"
        self.scale = LossScale.start(len(cohort), cohort.device) if halves else None
        self._noise_counts: dict[int, int] = {}
        self._rebind()

    def keep(self, chosen: list[int]) -> None:
        """Go on with the replicas at these positions; the cohort has already been cut."""
        self.slots_KP = {name: slot_KP[chosen] for name, slot_KP in self.slots_KP.items()}
        self.scale = self.scale.take(chosen) if self.scale else None
        self._rebind()

    def _rebind(self) -> None:
        """Bring each replica's numbers into the form that broadcasts over the stack."""
        replicas, device = self.cohort.replicas, self.cohort.device
        self._grad_KP = torch.empty_like(self.cohort.weights.theta_KP)
        views = self.cohort.layout.views(self._grad_KP)
        self._grad_views = views if len(replicas) > 1 else [view[0] for view in views]
        rows = [r.optimizer.hypers() for r in replicas]
        self._rows = rows
        self._numbers = {name: _number([row[name] for row in rows], device) for name in rows[0]}
        self._l1 = _number([r.regularization.l1 for r in replicas], device)
        self._l2 = _number([r.regularization.l2 for r in replicas], device)
        some = any(r.regularization.l1 or r.regularization.l2 for r in replicas)
        self._mask_P = self.cohort.layout.penalised().to(device) if some else None
        large = device.type == "cpu" and self.cohort.layout.numel >= FUSED_ROWS_FROM
        self._fused = large or len(replicas) == 1
        self._ones_K = torch.ones(len(replicas), device=device)
        self._one_schedule = all(r.scheduler == replicas[0].scheduler for r in replicas)

    def take(self, batches: list[Batch], step: int) -> StepReport:
        """Take one optimizer step.

        Args:
            batches: Micro-batches whose mean gradient is followed.
            step: 1 at the first step.
        """
        loss_K = self._gradient(batches, step)
        grad_KP = self._grad_KP
        if self.scale:
            grad_KP.div_(self.scale.scale_K)
        # A sum is finite only if all its terms are, and one transfer fetches both numbers.
        sums, losses = torch.stack([grad_KP.sum(dim=1), loss_K]).tolist()
        finite = [
            math.isfinite(a) and math.isfinite(b) for a, b in zip(sums, losses, strict=True)
        ]
        if all(finite):
            self._update(grad_KP, step)
        else:
            self._update_some(grad_KP, step, finite)
        if self.scale:
            finite = self.scale.adjust(finite)
        return StepReport(losses, finite)

    def _gradient(self, batches: list[Batch], step: int) -> Tensor:
        """Put the gradient of the mean loss into the reused buffer; return the loss (K,)."""
        total = sum(batch.y_KB.shape[1] for batch in batches)
        losses = []
        for micro, batch in enumerate(batches):
            share = batch.y_KB.shape[1] / total
            mean_K = self._loss(batch, step * self.plan.accumulate + micro)
            mean_K = mean_K if share == 1 else mean_K * share
            seed_K = self.scale.scale_K[:, 0] if self.scale else self._ones_K
            grads = torch.autograd.grad(mean_K, self.cohort.leaves, seed_K)
            for view, grad in zip(self._grad_views, grads, strict=True):
                if micro:
                    view.add_(grad)
                else:
                    view.copy_(grad)
            losses.append(mean_K.detach())
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum(dim=0)

    def _loss(self, batch: Batch, noise_index: int) -> Tensor:
        """Return each replica's mean loss (K,) of one micro-batch."""
        cohort, loss = self.cohort, self.cohort.replicas[0].loss
        noise_KM = self._noise(batch.x_KB, noise_index)
        if len(cohort) == 1 and batch.weight_KB is None and batch.share_KB is None:
            noise_M = None if noise_KM is None else noise_KM[0]
            with arithmetic(self.plan.precision, cohort.device):
                outputs_BO = cohort.forward_alone(batch.x_KB[0], noise_M)
            return loss.mean(outputs_BO.float(), batch.y_KB[0]).view(1)
        with arithmetic(self.plan.precision, cohort.device):
            outputs_KBO = cohort.forward(batch.x_KB, noise_KM)
        outputs = outputs_KBO.float().flatten(0, 1)
        losses = loss.per_example(outputs, batch.y_KB.flatten(0, 1))
        if batch.partner_KB is not None and batch.share_KB is not None:
            others = loss.per_example(outputs, batch.partner_KB.flatten(0, 1))
            losses = torch.lerp(others, losses, batch.share_KB.flatten())
        loss_KB = losses.view(batch.y_KB.shape[:2])
        if batch.weight_KB is not None:
            loss_KB = loss_KB * batch.weight_KB
        return loss_KB.mean(dim=1)

    def _noise(self, x_KB: Tensor, index: int) -> Tensor | None:
        size = x_KB.shape[1]
        if size not in self._noise_counts:
            self._noise_counts[size] = count_noise(self.cohort.network, x_KB[0])
        count = self._noise_counts[size]
        if not count:
            return None
        return dropout_noise(self.cohort.replicas, index, count, self.cohort.device)

    @torch.no_grad()
    def _update(self, grad_KP: Tensor, step: int) -> None:
        theta_KP = self.cohort.weights.theta_KP
        if self._mask_P is not None:
            grad_KP.add_(theta_KP * self._mask_P * (2 * self._l2))
            grad_KP.add_(theta_KP.sign() * self._mask_P * self._l1)
        if self.plan.clip_norm is not None:
            norm_K1 = grad_KP.norm(dim=1, keepdim=True)
            grad_KP.mul_((self.plan.clip_norm / (norm_K1 + 1e-6)).clamp_(max=1.0))
        lr_K = self._learning_rates(step)
        if self._fused:
            rows = [row | {"lr": lr} for row, lr in zip(self._rows, lr_K, strict=True)]
            if self.optimizer.update_rows(theta_KP, grad_KP, self.slots_KP, rows, step):
                return
        hypers = self._numbers | {"lr": _number(lr_K, theta_KP.device)}
        self.optimizer.update(theta_KP, grad_KP, self.slots_KP, hypers, step)

    def _learning_rates(self, step: int) -> list[float]:
        first, *others = self.cohort.replicas
        if not self._one_schedule:
            return [learning_rate(replica, step) for replica in (first, *others)]
        factor = first.scheduler.factor(step, first.total_steps, first.steps_per_epoch)
        return [replica.optimizer.lr * factor for replica in (first, *others)]

    def _update_some(self, grad_KP: Tensor, step: int, finite: list[bool]) -> None:
        """Take the step and undo it for the replicas whose gradient is not finite."""
        theta_KP = self.cohort.weights.theta_KP
        before = [tensor.clone() for tensor in (theta_KP, *self.slots_KP.values())]
        self._update(grad_KP, step)
        with torch.no_grad():
            for tensor, old in zip((theta_KP, *self.slots_KP.values()), before, strict=True):
                for k in [k for k, good in enumerate(finite) if not good]:
                    tensor[k] = old[k]


def learning_rate(replica: Replica, step: int) -> float:
    """Return a replica's scheduled learning rate of one step, 1 at the first."""
    factor = replica.scheduler.factor(step, replica.total_steps, replica.steps_per_epoch)
    return replica.optimizer.lr * factor


def _number(values: list[float], device: torch.device) -> Number:
    """Return one float where all replicas agree, else a (K, 1) tensor."""
    if all(value == values[0] for value in values):
        return values[0]
    return torch.tensor(values, device=device)[:, None]
