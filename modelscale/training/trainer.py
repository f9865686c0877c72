"""The trainer: one loop for one replica or for many.

It is a generator. Between two of its events the caller is in charge: it may log, save, `stop`
replicas, or let others `join`, in whatever order it likes.

Steps and epochs of the trainer are those of its clock, which begins with its first replicas. A
replica that joins has its own, which begin at 0 when it joins; all that becomes of a replica
(schedule, order, noise, early stopping, end) follows from its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.training.batches import Epoch
from modelscale.training.cohort import Buffers, Cohort, Weights
from modelscale.training.replica import Replica, structure_of
from modelscale.training.scoring import Monitor, Values, validate
from modelscale.training.step import Stepper, StepReport, learning_rate, number_of

Ending = Literal["complete", "stopped", "diverged"]


class Moment(NamedTuple):
    """A moment by a replica's own count.

    Attributes:
        epoch: Passes that are done.
        step: Optimizer steps that are done.
    """

    epoch: int
    step: int


@dataclass(frozen=True)
class EpochReport:
    """The end of an epoch.

    Attributes:
        epoch: Passes of the trainer's clock.
        step: Optimizer steps of the trainer's clock.
        values: For each living replica, by its index: `train/loss`, `lr` and `validation/…`.
        moments: What each of them has done since it joined; `epoch` and `step` for those that
            were there from the start.
    """

    epoch: int
    step: int
    values: dict[int, Values]
    moments: dict[int, Moment]


@dataclass(frozen=True)
class Paused:
    """A moment within an epoch that the caller asked for, to save or to stop.

    Attributes:
        step: Optimizer steps of the trainer's clock.
    """

    step: int


@dataclass(frozen=True)
class Divergence:
    """Replicas that left since their loss or gradient was no longer finite.

    Attributes:
        step: The step of the trainer's clock that was not taken, 1 at the first.
        rows: For each of these replicas, the rows of the batch.
        losses: Its loss on them.
        moments: What each of them has done before, since it joined.
    """

    step: int
    rows: dict[int, list[int]]
    losses: dict[int, float]
    moments: dict[int, Moment]


Event = EpochReport | Paused | Divergence


@dataclass
class Progress:
    """How far one replica has come.

    Attributes:
        index: Its number among all that the trainer has ever had.
        joined_epoch: Passes of the trainer's clock that were done when it joined.
        best_score: Largest score so far, -inf before the first validation.
        best_epoch: Its own epoch of that score; 0 before the first validation.
        best_step: Its own step of that score.
        best_values: What was measured then.
        last_values: What was measured last.
        stale: Epochs since a score that counted as an improvement.
    """

    index: int
    joined_epoch: int = 0
    best_score: float = -math.inf
    best_epoch: int = 0
    best_step: int = 0
    best_values: Values = field(default_factory=dict)
    last_values: Values = field(default_factory=dict)
    stale: int = 0


@dataclass(frozen=True)
class Outcome:
    """How the training of one replica ended.

    Attributes:
        ending: `complete` at the end of the plan or by its own early stopping, `stopped` by
            the caller, `diverged` by a number that is not finite.
        epoch: Passes that it has done.
        step: Optimizer steps that it has done.
        progress: Its best and last values.
        weights: One replica's weights (K = 1), as its own network has them: those of the best
            epoch, or the last.
    """

    ending: Ending
    epoch: int
    step: int
    progress: Progress
    weights: Weights


class Trainer:
    """Trains replicas of one structure in lockstep.

    Attributes:
        replicas: All that began and are not forgotten, by the order of their indices.
        indices: Of these.
        begun: How many have begun in all; the next to join has this index.
        outcomes: By index, the replicas that have ended.
        step: Optimizer steps that are done, by the clock.
        epoch: Passes that are done, by the clock.
    """

    def __init__(
        self,
        replicas: list[Replica],
        metrics: tuple[MetricSpec, ...],
        monitor: Monitor,
        device: torch.device,
    ) -> None:
        self.replicas, self.monitor = list(replicas), monitor
        self.metrics = tuple(metric for metric in metrics if metric.during_training)
        self.begun = len(replicas)
        self.indices = list(range(self.begun))
        self.plan, self.steps_per_epoch = replicas[0].plan, replicas[0].steps_per_epoch
        self.cohort = Cohort.start(replicas, device)
        self.stepper = Stepper(self.cohort)
        self.living = [Progress(k) for k in range(len(replicas))]
        self.validates = len(replicas[0].data.rows["validation"]) > 0
        self.keeps_best = self.validates and self.plan.keep == "best"
        self.best = self.cohort.weights.clone() if self.keeps_best else None
        averages = self.plan.ema is not None
        self.average_KP = self.cohort.weights.theta_KP.clone() if averages else None
        self.loss_sums = [0.0] * len(replicas)
        self.step = self.epoch = self.step_in_epoch = 0
        self.outcomes: dict[int, Outcome] = {}

    def run(self, pause_at: Callable[[int], bool] = lambda _step: False) -> Iterator[Event]:
        """Train until each replica is at the end of its plan; call it again if more join then.

        Args:
            pause_at: Asked after every step of the clock; True yields `Paused`, or the epoch's
                report.
        """
        self.retire()  # the state may have been saved before that was done
        while self.living:
            yield from self._finish_epoch(pause_at)
            if self.living:
                yield self._close_epoch()
                self.retire()

    def retire(self) -> None:
        """Take out the replicas that are at their end: of their patience, or of their plan.

        It is done after every epoch's report, when the caller's turn is over. A caller that
        wants to know within its turn who has left does it by itself.
        """
        if self.plan.early_stopping and self.validates:
            patience = self.plan.early_stopping.patience
            self._retire([p for p in self.living if p.stale >= patience], "complete")
        ended = [p for p in self.living if self._moment(p).epoch >= self.plan.epochs]
        self._retire(ended, "complete")

    def join(self, replicas: list[Replica]) -> list[int]:
        """Let more replicas in, which begin at their own first step.

        Between two epochs: after an epoch's report, or when nobody lives any more; what is
        left of an epoch in which all have diverged is passed over.

        Args:
            replicas: At least one, of the structure of those that are there.

        Returns:
            Their indices.
        """
        structure = structure_of(self.cohort.replicas[0])
        assert all(structure_of(replica) == structure for replica in replicas)
        if self.step_in_epoch:
            assert not self.living, "replicas join between two epochs"
            self.epoch, self.step_in_epoch = self.epoch + 1, 0
            self.step = self.epoch * self.steps_per_epoch
        staying = list(range(len(self.living)))  # none where the last ones have just left
        fresh = self.cohort.extend(staying, replicas)
        self.stepper.extend(staying)
        if self.best is not None:
            self.best = self.best.take(staying).joined(fresh)
        if self.average_KP is not None:
            self.average_KP = torch.cat([self.average_KP[staying], fresh.theta_KP])
        self.loss_sums = [*self.loss_sums[: len(staying)], *[0.0] * len(replicas)]
        indices = list(range(self.begun, self.begun + len(replicas)))
        self.living += [Progress(index, self.epoch) for index in indices]
        self.replicas += replicas
        self.indices += indices
        self.begun += len(replicas)
        return indices

    def forget(self, indices: list[int]) -> None:
        """Drop replicas that have ended, with their outcomes, which the caller has dealt with.

        They no longer take memory or room in the saved state.
        """
        for index in indices:
            del self.outcomes[index]
            place = self.indices.index(index)
            del self.indices[place], self.replicas[place]

    def stop(self, indices: list[int], ending: Ending = "stopped") -> None:
        """Take replicas out of training, by their index; the others go on faster."""
        self._retire([p for p in self.living if p.index in indices], ending)

    def shown(self) -> Weights:
        """Return what is validated and kept: the weights, or their moving average."""
        weights = self.cohort.weights
        if self.average_KP is None:
            return weights
        return Weights(self.average_KP, weights.buffers_K)

    def _finish_epoch(self, pause_at: Callable[[int], bool]) -> Iterator[Event]:
        self.cohort.set_training()
        epoch, starts = self._epoch()
        while self.living and self.step_in_epoch < self.steps_per_epoch:
            if epoch.replicas is not self.cohort.replicas:  # some have left, or joined
                epoch, starts = self._epoch()
            batches = epoch.batches(self.step_in_epoch)
            weights = self.cohort.weights
            buffers_K = {name: buffer_K.clone() for name, buffer_K in weights.buffers_K.items()}
            steps = [self.step + 1 - start for start in starts]
            report = self.stepper.take(batches, steps)
            divergence = None
            if not all(report.finite):
                divergence = self._drop_diverged(epoch, report, buffers_K)
                steps = [s for s, finite in zip(steps, report.finite, strict=True) if finite]
                report = _finite_part(report)
            if self.living:  # the others have taken the step
                self._count(steps, report.losses, sum(batch.y_KB.shape[1] for batch in batches))
            if divergence is not None:
                yield divergence
            if self.step_in_epoch < self.steps_per_epoch and pause_at(self.step):
                yield Paused(self.step)

    def _epoch(self) -> tuple[Epoch, list[int]]:
        """Return the current pass, and the step of the clock at which each replica joined."""
        epochs = [self.epoch - progress.joined_epoch for progress in self.living]
        starts = [progress.joined_epoch * self.steps_per_epoch for progress in self.living]
        return Epoch(self.cohort.replicas, epochs, self.cohort.device), starts

    def _moment(self, progress: Progress) -> Moment:
        return Moment(
            self.epoch - progress.joined_epoch,
            self.step - progress.joined_epoch * self.steps_per_epoch,
        )

    def _count(self, steps: list[int], losses: list[float], examples: int) -> None:
        for k, loss in enumerate(losses):
            self.loss_sums[k] += loss * examples
        self.step += 1
        self.step_in_epoch += 1
        if self.average_KP is not None and self.plan.ema is not None:
            # A young average forgets faster, or the initial weights would linger.
            gains = [1 - min(self.plan.ema, (1 + step) / (10 + step)) for step in steps]
            theta_KP = self.cohort.weights.theta_KP
            self.average_KP.lerp_(theta_KP, number_of(gains, theta_KP.device))

    def _close_epoch(self) -> EpochReport:
        count = len(self.cohort.replicas[0].rows)
        self.epoch, self.step_in_epoch = self.epoch + 1, 0
        train_losses = [total / count for total in self.loss_sums]
        self.loss_sums = [0.0] * len(self.living)
        shown = self.shown()
        measured = validate(self.cohort, shown, self.metrics) if self.validates else []
        values, moments = {}, {}
        for k, progress in enumerate(self.living):
            moments[progress.index] = moment = self._moment(progress)
            rate = learning_rate(self.cohort.replicas[k], moment.step)
            progress.last_values = {"train/loss": train_losses[k], "lr": rate}
            if measured:
                progress.last_values |= {f"validation/{n}": v for n, v in measured[k].items()}
                self._compare(k, progress, measured[k], shown)
            values[progress.index] = progress.last_values
        return EpochReport(self.epoch, self.step, values, moments)

    def _compare(self, k: int, progress: Progress, values: Values, shown: Weights) -> None:
        score = self.monitor.score(values)
        stopping = self.plan.early_stopping
        least = stopping.min_delta if stopping else 0.0
        improved = progress.best_epoch == 0 or score > progress.best_score + least
        progress.stale = 0 if improved else progress.stale + 1
        if progress.best_epoch == 0 or score > progress.best_score:
            progress.best_score, progress.best_values = score, progress.last_values
            progress.best_epoch, progress.best_step = self._moment(progress)
            if self.best is not None:
                self.best.put(k, shown, k)

    def _retire(self, leaving: list[Progress], ending: Ending) -> None:
        gone = [self.living.index(progress) for progress in leaving]
        if not gone:
            return
        for k in gone:
            progress = self.living[k]
            kept = self.best if self.best is not None and progress.best_epoch else self.shown()
            self.outcomes[progress.index] = Outcome(
                ending, *self._moment(progress), progress, self.cohort.own(kept, k)
            )
        self._keep([k for k in range(len(self.living)) if k not in gone])

    def _keep(self, chosen: list[int]) -> None:
        self.living = [self.living[k] for k in chosen]
        if not chosen:
            return
        self.cohort.keep(chosen)
        self.stepper.keep(chosen)
        self.best = self.best.take(chosen) if self.best is not None else None
        self.average_KP = self.average_KP[chosen] if self.average_KP is not None else None
        self.loss_sums = [self.loss_sums[k] for k in chosen]

    def _drop_diverged(
        self, epoch: Epoch, report: StepReport, buffers_K: Buffers
    ) -> Divergence:
        """Take out the replicas of which the step was not taken.

        Args:
            epoch: The current one.
            report: What the step measured.
            buffers_K: As they were before the step, whose forward pass has changed them.
        """
        size = self.cohort.replicas[0].step_size
        start = self.step_in_epoch * size
        gone = [k for k, finite in enumerate(report.finite) if not finite]
        for name, buffer_K in self.cohort.weights.buffers_K.items():
            buffer_K[gone] = buffers_K[name][gone]
        indices = [self.living[k].index for k in gone]
        rows = {
            index: epoch.order_KN[k, start : start + size].tolist()
            for k, index in zip(gone, indices, strict=True)
        }
        losses = {i: report.losses[k] for k, i in zip(gone, indices, strict=True)}
        moments = {self.living[k].index: self._moment(self.living[k]) for k in gone}
        self.stop(indices, "diverged")
        return Divergence(self.step + 1, rows, losses, moments)


def _finite_part(report: StepReport) -> StepReport:
    """Return the report of the replicas that go on."""
    pairs = zip(report.losses, report.finite, strict=True)
    losses = [loss for loss, finite in pairs if finite]
    return StepReport(losses, [True] * len(losses))
