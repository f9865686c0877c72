"""The training step: from micro-batches to new parameters, for one replica or K."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor

from modelscale.losses.base import LossSpec
from modelscale.training.batches import Batch, dropout_noise
from modelscale.training.candidates import scores_of
from modelscale.training.cohort import Cohort
from modelscale.training.packed import Tape
from modelscale.training.precision import LossScale, arithmetic
from modelscale.training.replica import Replica
from modelscale.training.widening import pieces_of, share_of

if TYPE_CHECKING:
    from modelscale.optimizers.base import Number

FUSED_ROWS_FROM = 2_048
"""Parameters from which one fused kernel a replica beats elementwise passes over the stack."""


MEAN = LossSpec.over
"""How a loss is averaged unless it says otherwise."""


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
        self._shares: tuple[list[int], Tensor] | None = None
        self._pieces = pieces_of(first, cohort.network, cohort.layout)
        self._rebind()

    def keep(self, chosen: list[int]) -> None:
        """Go on with the replicas at these positions; the cohort has already been cut."""
        self.slots_KP = {name: slot_KP[chosen] for name, slot_KP in self.slots_KP.items()}
        self.scale = self.scale.take(chosen) if self.scale else None
        self._rebind()

    def extend(self, chosen: list[int]) -> None:
        """Go on with those at these positions and the new ones; the cohort already does."""
        count = len(self.cohort) - len(chosen)
        for name, slot_KP in self.slots_KP.items():
            zeros = slot_KP.new_zeros(count, slot_KP.shape[1])
            self.slots_KP[name] = torch.cat([slot_KP[chosen], zeros])
        self.scale = self.scale.take(chosen).joined(count) if self.scale else None
        self._rebind()

    def _rebind(self) -> None:
        """Bring each replica's numbers into the form that broadcasts over the stack."""
        replicas, device = self.cohort.replicas, self.cohort.device
        exact = self.plan.precision not in {"bf16", "fp16"} and not self.plan.compile
        self._packed = self.cohort.packed if exact and len(replicas) > 1 else None
        buffers_K = self.cohort.weights.buffers_K
        self._drops = self._packed.drops(buffers_K) if self._packed else None
        self._grad_KP = torch.empty_like(self.cohort.weights.theta_KP)
        views = self.cohort.layout.views(self._grad_KP)
        self._grad_stack = dict(zip(self.cohort.layout.names, views, strict=True))
        self._grad_views = views if len(replicas) > 1 else [view[0] for view in views]
        rows = [r.optimizer.hypers() for r in replicas]
        self._rows = rows
        self._numbers = {
            name: number_of([row[name] for row in rows], device) for name in rows[0]
        }
        self._l1 = number_of([r.regularization.l1 for r in replicas], device)
        self._l2 = number_of([r.regularization.l2 for r in replicas], device)
        some = any(r.regularization.l1 or r.regularization.l2 for r in replicas)
        self._mask_P = self.cohort.layout.penalised().to(device) if some else None
        large = device.type == "cpu" and self.cohort.layout.numel >= FUSED_ROWS_FROM
        self._fused = large or len(replicas) == 1
        self._ones_K = torch.ones(len(replicas), device=device)
        self._shares = None
        self._noise_counts: dict[int, list[int]] = {}
        self._one_schedule = all(r.scheduler == replicas[0].scheduler for r in replicas)

    def take(self, batches: list[Batch], steps: list[int]) -> StepReport:
        """Take one optimizer step.

        Args:
            batches: Micro-batches whose mean gradient is followed.
            steps: Each replica's own, 1 at its first.
        """
        loss_K = self._gradient(batches, steps)
        grad_KP = self._grad_KP
        if self.scale:
            grad_KP.div_(self.scale.scale_K)
        # A sum is finite only if all its terms are, and one transfer fetches both numbers.
        sums, losses = torch.stack([grad_KP.sum(dim=1), loss_K]).tolist()
        finite = [
            math.isfinite(a) and math.isfinite(b) for a, b in zip(sums, losses, strict=True)
        ]
        if all(finite):
            self._update(grad_KP, steps)
        else:
            self._update_some(grad_KP, steps, finite)
        if self.scale:
            finite = self.scale.adjust(finite)
        return StepReport(losses, finite)

    def _gradient(self, batches: list[Batch], steps: list[int]) -> Tensor:
        """Put the gradient of the mean loss into the reused buffer; return the loss (K,)."""
        total = sum(batch.y_KB.shape[1] for batch in batches)
        losses = []
        for micro, batch in enumerate(batches):
            share = batch.y_KB.shape[1] / total
            seed_K = self.scale.scale_K[:, 0] if self.scale else self._ones_K
            seed_K = seed_K if share == 1 else seed_K * share
            if micro:
                before_KP = self._grad_KP.clone()
            mean_K = self._differentiate(batch, steps, micro, seed_K)
            if micro:
                self._grad_KP.add_(before_KP)
            losses.append(mean_K if share == 1 else mean_K * share)
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum(dim=0)

    def _differentiate(
        self, batch: Batch, steps: list[int], micro: int, seed_K: Tensor
    ) -> Tensor:
        """Write `seed_K` times the gradient of one micro-batch; return its mean loss (K,)."""
        cohort = self.cohort
        noise_KM = self._noise(batch.x_KB, steps, micro)
        if self._packed is None:
            mean_K = self._loss(batch, noise_KM)
            grads = torch.autograd.grad(mean_K, cohort.leaves, seed_K)
            for view, grad in zip(self._grad_views, grads, strict=True):
                view.copy_(grad)
            return mean_K.detach()
        tape: Tape = []
        stack, buffers = cohort.stack, cohort.weights.buffers_K
        with torch.no_grad():
            outputs_KBO = self._packed.outputs(
                stack, buffers, batch.x_KB, noise_KM, tape, self._drops
            )
        mean_K, grad_KBO = self._slopes(outputs_KBO, batch, seed_K)
        with torch.no_grad():
            self._packed.gradients(stack, tape, grad_KBO, self._grad_stack)
        return mean_K

    def _slopes(
        self, outputs_KBO: Tensor, batch: Batch, seed_K: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return each replica's mean loss (K,), and `seed_K` times its gradient (K, B, O)."""
        loss = self.cohort.replicas[0].loss
        plain = batch.share_KB is None and batch.log_q_KBC is None and type(loss).over is MEAN
        if plain and outputs_KBO.shape[:2] == batch.y_KB.shape[:2]:
            with torch.no_grad():
                found = loss.slopes(outputs_KBO.flatten(0, 1), batch.y_KB.flatten(0, 1))
            if found is not None:
                loss_KB = found[0].view(outputs_KBO.shape[:2])
                slope_KBO = found[1].view_as(outputs_KBO)
                factor_KB = (seed_K / loss_KB.shape[1])[:, None]
                if batch.weight_KB is not None:
                    loss_KB = loss_KB * batch.weight_KB
                    factor_KB = factor_KB * batch.weight_KB
                return loss_KB.mean(1), slope_KBO.mul_(factor_KB[..., None])
        mean_K = self._mean_loss(outputs_KBO.requires_grad_(), batch)
        (grad_KBO,) = torch.autograd.grad(mean_K, outputs_KBO, seed_K)
        return mean_K.detach(), grad_KBO

    def _loss(self, batch: Batch, noise_KM: Tensor | None) -> Tensor:
        """Return each replica's mean loss (K,) of one micro-batch."""
        cohort = self.cohort
        with arithmetic(self.plan.precision, cohort.device):
            outputs_KBO = cohort.forward(batch.x_KB, noise_KM)
        return self._mean_loss(outputs_KBO.float(), batch)

    def _mean_loss(self, outputs_KBO: Tensor, batch: Batch) -> Tensor:
        """Return each replica's mean loss (K,) of outputs (K, B, O)."""
        loss = self.cohort.replicas[0].loss
        alone = len(self.cohort) == 1 and batch.weight_KB is None and batch.share_KB is None
        if alone and batch.log_q_KBC is None:
            return mean_loss(loss, outputs_KBO[0], batch.y_KB[0]).view(1)
        outputs = outputs_KBO.flatten(0, 1)
        if batch.log_q_KBC is not None:
            outputs = scores_of(loss, outputs, batch.log_q_KBC.flatten(0, 1))
        losses = losses_of(loss, outputs, batch.y_KB.flatten(0, 1))
        if batch.partner_KB is not None and batch.share_KB is not None:
            others = losses_of(loss, outputs, batch.partner_KB.flatten(0, 1))
            losses = torch.lerp(others, losses, batch.share_KB.flatten())
        loss_KB = losses.view(batch.y_KB.shape[:2])
        if batch.weight_KB is not None:
            loss_KB = loss_KB * batch.weight_KB
        return loss.over(loss_KB)

    def _noise(self, x_KB: Tensor, steps: list[int], micro: int) -> Tensor | None:
        size, cohort = x_KB.shape[1], self.cohort
        if size not in self._noise_counts:
            self._noise_counts[size] = cohort.noise_counts(x_KB[0])
        counts = self._noise_counts[size]
        if not max(counts):
            return None
        indices = [step * self.plan.accumulate + micro for step in steps]
        noise_KM = dropout_noise(cohort.replicas, indices, counts, cohort.device)
        if cohort.padding is None:
            return noise_KM
        return cohort.padding.deal(noise_KM, cohort.network, x_KB[0])

    @torch.no_grad()
    def _update(self, grad_KP: Tensor, steps: list[int]) -> None:
        theta_KP = self.cohort.weights.theta_KP
        if self._mask_P is not None:
            grad_KP.add_(theta_KP * self._mask_P * (2 * self._l2))
            grad_KP.add_(theta_KP.sign() * self._mask_P * self._l1)
        if self.plan.clip_norm is not None:
            norm_K1 = grad_KP.norm(dim=1, keepdim=True)
            grad_KP.mul_((self.plan.clip_norm / (norm_K1 + 1e-6)).clamp_(max=1.0))
        lr_K = self._learning_rates(steps)
        share_KP = self._rate_shares(steps)
        if self._fused and share_KP is None and self._update_rows(grad_KP, lr_K, steps):
            return
        lr = number_of(lr_K, theta_KP.device)
        hypers = self._numbers | {"lr": lr if share_KP is None else lr * share_KP}
        if self._pieces:
            hypers = _at_rate(hypers, share_of(self._pieces, theta_KP.device))
        step = number_of(steps, theta_KP.device)
        self.optimizer.update(theta_KP, grad_KP, self.slots_KP, hypers, step)

    def _update_rows(self, grad_KP: Tensor, lr_K: list[float], steps: list[int]) -> bool:
        """Take the step with fused kernels, if the optimizer has any; return whether it has."""
        theta_KP = self.cohort.weights.theta_KP
        rows = [row | {"lr": lr} for row, lr in zip(self._rows, lr_K, strict=True)]
        if not self._pieces:
            return self.optimizer.update_rows(theta_KP, grad_KP, self.slots_KP, rows, steps)
        for start, stop, rate in self._pieces:
            part = slice(start, stop)
            slots = {name: slot_KP[:, part] for name, slot_KP in self.slots_KP.items()}
            own = [_at_rate(row, rate) for row in rows]
            if not self.optimizer.update_rows(
                theta_KP[:, part], grad_KP[:, part], slots, own, steps
            ):
                return False
        return True

    def _rate_shares(self, steps: list[int]) -> Tensor | None:
        """Return (K, P), the share of its replica's learning rate that each number has.

        None where all of them have all of it.
        """
        replicas = self.cohort.replicas
        starts = [r.start for r in replicas]
        if all(start is None or start.is_even for start in starts):
            return None
        thawed = [
            start.thawed((step - 1) // r.steps_per_epoch) if start else 0
            for start, r, step in zip(starts, replicas, steps, strict=True)
        ]
        if self._shares is None or self._shares[0] != thawed:
            layout, device = self.cohort.layout, self.cohort.device
            rows = [
                start.shares(layout, count) if start else torch.ones(layout.numel)
                for start, count in zip(starts, thawed, strict=True)
            ]
            self._shares = thawed, torch.stack(rows).to(device)
        return self._shares[1]

    def _learning_rates(self, steps: list[int]) -> list[float]:
        replicas = self.cohort.replicas
        if not self._one_schedule:
            return [learning_rate(r, step) for r, step in zip(replicas, steps, strict=True)]
        first = replicas[0]
        total, per_epoch = first.total_steps, first.steps_per_epoch
        factors = {step: first.scheduler.factor(step, total, per_epoch) for step in set(steps)}
        return [r.optimizer.lr * factors[step] for r, step in zip(replicas, steps, strict=True)]

    def _update_some(self, grad_KP: Tensor, steps: list[int], finite: list[bool]) -> None:
        """Take the step and undo it for the replicas whose gradient is not finite."""
        theta_KP = self.cohort.weights.theta_KP
        before = [tensor.clone() for tensor in (theta_KP, *self.slots_KP.values())]
        self._update(grad_KP, steps)
        with torch.no_grad():
            for tensor, old in zip((theta_KP, *self.slots_KP.values()), before, strict=True):
                for k in [k for k, good in enumerate(finite) if not good]:
                    tensor[k] = old[k]


def losses_of(loss: LossSpec, outputs: Tensor, targets_N: Tensor) -> Tensor:
    """Return the loss of each example (N,): the mean over a network's answers for it.

    Args:
        loss: Of one answer.
        outputs: (N, O), or (N · M, O) of a network that gives M answers an example.
        targets_N: Targets of the examples.
    """
    answers = len(outputs) // len(targets_N)
    if answers == 1:
        return loss.per_example(outputs, targets_N)
    losses = loss.per_example(outputs, targets_N.repeat_interleave(answers, dim=0))
    return losses.view(-1, answers).mean(dim=1)


def mean_loss(loss: LossSpec, outputs: Tensor, targets_N: Tensor) -> Tensor:
    """Return the mean of `losses_of`, ()."""
    if len(outputs) == len(targets_N):
        return loss.mean(outputs, targets_N)
    return losses_of(loss, outputs, targets_N).mean()


def learning_rate(replica: Replica, step: int) -> float:
    """Return a replica's scheduled learning rate of one step, 1 at the first."""
    factor = replica.scheduler.factor(step, replica.total_steps, replica.steps_per_epoch)
    return replica.optimizer.lr * factor


N = TypeVar("N", float, "Number")


def _at_rate(hypers: dict[str, N], rate: N) -> dict[str, N]:
    """Return an optimizer's numbers for layers that learn at a multiple of the rate.

    What decays does so as fast as elsewhere: its rate is that of the whole network.
    """
    found = hypers | {"lr": hypers["lr"] * rate}
    if "weight_decay" in hypers:
        found["weight_decay"] = hypers["weight_decay"] / rate
    return found


def number_of(values: Sequence[float], device: torch.device) -> Number:
    """Return one number where all replicas agree, else a (K, 1) float32 tensor."""
    if all(value == values[0] for value in values):
        return values[0]
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None]
