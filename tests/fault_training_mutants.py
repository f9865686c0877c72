"""Ways in which a training could forget a part of its state; the faults suite must see each.

Each breaks the process that it is called in. `Session` goes on through `state.restore`, so
that is where most of them forget something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fault_harness import tell

Trainer = Any


def running_order() -> None:
    """The order of an epoch is drawn from a generator that runs on, and starts anew."""
    import torch

    from modelscale.training import batches

    generator = torch.Generator().manual_seed(0)

    def order(replica: Any, epoch: int) -> Any:
        rows = replica.rows.cpu()
        return rows[torch.randperm(len(rows), generator=generator)]

    batches._order = order


def running_dropout() -> None:
    """Dropout draws from a generator that runs on, and starts anew."""
    import torch

    from modelscale.training import step

    generator = torch.Generator().manual_seed(0)

    def noise(replicas: Any, index: int, counts: list[int], device: Any) -> Any:
        return torch.rand(len(replicas), max(counts), generator=generator)

    step.dropout_noise = noise


def without_optimizer_slots() -> None:
    """The optimizer's memory begins at zero again."""

    def forget(trainer: Trainer) -> None:
        for slot_KP in trainer.stepper.slots_KP.values():
            slot_KP.zero_()

    _after_restore(forget)


def without_schedule_step() -> None:
    """The schedule begins anew: it counts the steps of this process alone."""
    from modelscale.optimizers.schedules.base import ScheduleSpec

    real, offset = ScheduleSpec.factor, [0]

    def forget(trainer: Trainer) -> None:
        offset[0] = trainer.step

    _after_restore(forget)

    def factor(spec: ScheduleSpec, step: int, total: int, per_epoch: int) -> float:
        return real(spec, max(1, step - offset[0]), total, per_epoch)

    ScheduleSpec.factor = factor  # type: ignore[method-assign]


def without_best_weights() -> None:
    """The best weights so far are taken to be the current ones."""

    def forget(trainer: Trainer) -> None:
        if trainer.best is not None:
            trainer.best = trainer.cohort.weights.clone()

    _after_restore(forget)


def without_buffers() -> None:
    """The running statistics of batch norm are those of a new network."""

    def forget(trainer: Trainer) -> None:
        from modelscale.training.cohort import Cohort

        new = Cohort.start(trainer.cohort.replicas, trainer.cohort.device).weights
        for name, buffer_K in trainer.cohort.weights.buffers_K.items():
            buffer_K.copy_(new.buffers_K[name])

    _after_restore(forget)


def without_average() -> None:
    """The moving average begins anew at the current weights."""

    def forget(trainer: Trainer) -> None:
        if trainer.average_KP is not None:
            trainer.average_KP = trainer.cohort.weights.theta_KP.clone()

    _after_restore(forget)


def without_loss_sums() -> None:
    """The loss of an epoch forgets the steps before the resume."""

    def forget(trainer: Trainer) -> None:
        trainer.loss_sums = [0.0] * len(trainer.loss_sums)

    _after_restore(forget)


def without_rewinding() -> None:
    """Metric lines are appended at the end, wherever the checkpoint was."""
    from modelscale.runs.metric_log import MetricLog

    MetricLog.rewind = lambda self, lines: None  # type: ignore[method-assign, assignment]


def telling_before_writing() -> None:
    """A trial is told of before its result is on disk."""
    from modelscale.commands import search_ledger

    real = search_ledger.finish_trial

    def finish(part: Any, record: Any) -> None:
        tell(f"trial {record.number} {record.state}")
        real(part, record)

    search_ledger.finish_trial = finish


TRAINING_MUTANTS: tuple[Callable[[], None], ...] = (
    running_order,
    running_dropout,
    without_optimizer_slots,
    without_schedule_step,
    without_best_weights,
    without_buffers,
    without_average,
    without_loss_sums,
    without_rewinding,
)


def _after_restore(forget: Callable[[Trainer], None]) -> None:
    """Let every trainer that goes on forget something first."""
    from modelscale.training import state

    real = state.restore

    def restore(*args: Any) -> Trainer:
        trainer = real(*args)
        forget(trainer)
        return trainer

    state.restore = restore
