"""A session: one cohort trained to its end, whatever interrupts it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.runs.checkpoints import CheckpointStore
from modelscale.runs.metric_log import MetricLog
from modelscale.training import state
from modelscale.training.artifact import dump_model
from modelscale.training.replica import Replica
from modelscale.training.scoring import Monitor
from modelscale.training.stopping import StopRequest
from modelscale.training.trainer import EpochReport, Event, Trainer

SESSION = "session.json"


@dataclass(frozen=True)
class Goal:
    """What is measured during training, and what of it decides.

    Attributes:
        metrics: Measured on the validation part after every epoch.
        monitor: Decides which epoch is best.
    """

    metrics: tuple[MetricSpec, ...]
    monitor: Monitor


class Session:
    """Trains a cohort with checkpoints, going on from the newest one that is whole.

    Attributes:
        trainer: The trainer; the caller may `stop` its replicas between two events.
        logs: Logs that are put back to where the state was saved.
        resumed_at: The step that was gone on from; None for a fresh start.
        warnings: Checkpoints that were passed over since they are damaged.
        seconds: Training time, earlier sessions included.
        notes: What the caller wants to be kept with the state, one line each.
    """

    def __init__(
        self,
        replicas: list[Replica],
        goal: Goal,
        device: torch.device,
        store: CheckpointStore,
        logs: Sequence[MetricLog],
        stop: StopRequest,
    ) -> None:
        """Begin, or go on from the newest checkpoint.

        Args:
            replicas: Of one structure, always in the same order. Where some have joined since,
                all that had begun and were not forgotten when the checkpoint was written;
                `saved_notes` can say which, if the caller notes it.
            goal: What is measured, and what decides.
            device: Where to train.
            store: Where the state is kept.
            logs: Logs that the caller appends to, those of replicas that joined included.
            stop: Looked at after every step.
        """
        self.store, self.logs, self._stop = store, list(logs), stop
        self.plan = replicas[0].plan
        self.resumed_at: int | None = None
        self.warnings: tuple[str, ...] = ()
        self.notes: list[str] = []
        self._earlier = self.seconds = 0.0
        self._began = self._saved = time.monotonic()
        found = store.newest_valid((state.TENSORS, SESSION))
        if found is None:
            self.trainer = Trainer(replicas, goal.metrics, goal.monitor, device)
            return
        self.trainer = state.restore(found.files, replicas, goal.metrics, goal.monitor, device)
        facts = json.loads(found.files[SESSION])
        for log, lines in zip(self.logs, facts["log_lines"], strict=True):
            log.rewind(lines)
        self._earlier = self.seconds = facts["seconds"]
        self.notes = facts["notes"]
        self.resumed_at = found.step
        self.warnings = tuple(map(str, found.passed_over))

    def join(self, replicas: list[Replica], logs: Sequence[MetricLog] = ()) -> list[int]:
        """Let more replicas in between two epochs, and their logs; see `Trainer.join`."""
        self.logs += logs
        return self.trainer.join(replicas)

    def forget(self, indices: list[int], logs: Sequence[MetricLog] = ()) -> None:
        """Drop replicas that have ended and logs that have; what they led to is on disk."""
        for log in logs:
            log.sync()
            self.logs.remove(log)
        self.trainer.forget(indices)

    def run(self) -> Iterator[Event]:
        """Train each replica to the end of its plan, saving between the caller's turns.

        Raises:
            TryAgain: If a stop was asked for; the state is saved.
        """
        for event in self.trainer.run(self._pause_at):
            self.seconds = self._earlier + time.monotonic() - self._began
            yield event
            if self._stop:
                self.save()
                raise self._stop.error()
            if self._due(event):
                self.save()
        # Also where nothing was left to train, since the process before may have died before
        # the link to its last checkpoint; equal files stay as they are.
        self.save()

    def save(self) -> None:
        """Write a checkpoint of the state as it is between two steps."""
        for log in self.logs:
            log.sync()
        facts = {
            "log_lines": [log.lines for log in self.logs],
            "seconds": self.seconds,
            "notes": self.notes,
        }
        files = state.dump(self.trainer) | {SESSION: json.dumps(facts).encode()}
        if len(self.trainer.replicas) == self.trainer.begun == 1:
            files |= dump_model(
                self.trainer.replicas[0], self.trainer.shown(), self.trainer.cohort.layout
            )
        step = self.trainer.step
        self.store.save(step, files)
        self.store.point("last", step)
        self.store.prune()
        self._saved = time.monotonic()

    def _pause_at(self, step: int) -> bool:
        every = self.plan.checkpoint_steps
        return bool(self._stop) or (every is not None and step % every == 0)

    def _due(self, event: Event) -> bool:
        if not self.trainer.living:
            return False
        if self.plan.checkpoint_steps is not None:
            return self.trainer.step % self.plan.checkpoint_steps == 0
        aged = time.monotonic() - self._saved >= self.plan.checkpoint_s
        return isinstance(event, EpochReport) and aged


def saved_notes(store: CheckpointStore) -> list[str] | None:
    """Return the notes of the checkpoint that a session would go on from; None without one.

    Raises:
        DataError: If there are checkpoints, but none to go on from.
    """
    found = store.newest_valid((state.TENSORS, SESSION))
    return None if found is None else list(json.loads(found.files[SESSION])["notes"])
