"""Which trials are trained next, where many machines share a search through a database.

Every process has a run folder of its own, with the records of all trials and the models of
those that it trained. Numbers are given out by the database, and a round is proposed from what
is known at that moment; so what is proposed does depend on who was how fast, and stands once it
is entered. A process that dies leaves its trials to the others.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelscale.commands.search_ledger import Ledger
from modelscale.commands.search_rounds import Ended, Host, Round
from modelscale.runs.metric_log import read
from modelscale.runs.part import METRICS, RunPart
from modelscale.runs.record import read_record
from modelscale.runs.trials import TRIALS, trial_folder
from modelscale.tuning.batching import batch_size
from modelscale.tuning.shared_study import SharedStudy, SharedTrial

if TYPE_CHECKING:
    from modelscale.tuning.section import TuneSection

POLL_S = 0.5
OWNER = "storage-owner"


@dataclass(frozen=True)
class Shared:
    """A database that joins the searches of many machines.

    Attributes:
        url: Its address.
        study: Name of the study in it, equal for equal searches.
        owner: Who takes part: one run, wherever it goes on.
    """

    url: str
    study: str
    owner: str

    @classmethod
    def by(cls, url: str, run: Path) -> Shared:
        """Return how a run takes part."""
        record = read_record(run)
        if not (run / OWNER).exists():
            RunPart(run, owner=True).write(OWNER, uuid.uuid4().hex.encode())
        owner = (run / OWNER).read_text()
        return cls(url, f"{record.name}-{record.digest[:12]}", owner)


class SharedRounds:
    """The rounds of a shared search, as one of its processes comes by them.

    Attributes:
        ended: Why there are no more.
    """

    def __init__(
        self,
        study: SharedStudy,
        ledger: Ledger,
        section: TuneSection,
        together: int,
        host: Host,
    ) -> None:
        self.study, self.ledger, self.section, self.together = study, ledger, section, together
        self._host = host
        self._training: Sequence[int] = ()
        self.ended: Ended = "n_trials"

    def next(self) -> Round | None:
        """Return the round that this process is to train; None once all trials are finished.

        Raises:
            TryAgain: If a stop was asked for while waiting, or the server is gone.
        """
        while True:
            with self.study.alone():
                trials = self._told()
                waiting = [trial for trial in trials if trial.record is None]
                found = self._left_behind(trials, waiting)
                if found is None and len(trials) < self.section.n_trials:
                    if self._host.time_is_up():
                        self.ended = "time"
                        return None
                    found = self._new(trials, waiting)
            if found is not None:
                self._training = found.numbers
                return found
            if not waiting:
                return None
            if self._host.stop:
                raise self._host.stop.error()
            time.sleep(POLL_S)

    def release(self) -> None:
        """Enter what came out of the round that was trained last."""
        with self.study.alone():
            for number in self._training:
                self._enter(number)
        self._training = ()

    def refresh(self) -> None:
        """Hear of what other processes have finished."""
        with self.study.alone():
            self._told()

    def close(self) -> None:
        """Leave the study; what this process has begun may be taken over."""
        self.study.close()

    def _told(self) -> list[SharedTrial]:
        """Return all trials; enter what was finished here, keep what was finished elsewhere."""
        trials = self.study.trials()
        self.ledger.refresh(range(len(trials)))  # other processes of this machine write here
        untold = [t.number for t in trials if t.record is None]
        for number in untold:
            self._enter(number)
        if any(number in self.ledger.records for number in untold):
            trials = self.study.trials()
        for trial in trials:
            if trial.record is not None and trial.number not in self.ledger.records:
                self._keep(trial)
            self.ledger.begun.setdefault(trial.number, trial.params)
        return trials

    def _enter(self, number: int) -> None:
        record = self.ledger.records.get(number)
        if record is not None:
            self.study.finish(
                record, read(trial_folder(self.ledger.place.path, number) / METRICS)
            )

    def _keep(self, trial: SharedTrial) -> None:
        """Write a trial that was finished elsewhere into the own ledger."""
        assert trial.record is not None
        part = self.ledger.place.sub(f"{TRIALS}/{trial.number:04d}")
        log = part.metrics()
        log.rewind(0)
        log.drop_rest()  # of a training that others have taken over
        for line in trial.lines:
            log.append(line)
        log.close()
        if self.ledger.finish(part, trial.record):
            self._host.heard(trial.record)

    def _left_behind(
        self, trials: list[SharedTrial], waiting: list[SharedTrial]
    ) -> Round | None:
        """Return a round that this process, or one that is gone, has not ended."""
        for trial in waiting:
            own = trial.owner == self.study.owner
            if not own and self.study.lives(trial.owner):
                continue
            batch = [t for t in trials if t.batch == trial.batch and t.owner == trial.owner]
            if not own:
                batch = [t for t in batch if t.record is None]
                self.study.adopt([t.number for t in batch])
            return self._round(trials, batch)
        return None

    def _new(self, trials: list[SharedTrial], waiting: list[SharedTrial]) -> Round | None:
        asked = len(trials)
        sampler, total = self.section.sampler, self.section.n_trials
        known = [trial.number for trial in trials if trial.record is not None]
        pending = [trial.number for trial in waiting]
        count = batch_size(asked, total, self.together, sampler)
        params = self._host.ask(known, pending, count)
        if len(params) < count:
            self.ended = "exhausted"
        numbers = [self.study.begin(point, asked) for point in params]
        if not numbers:
            return None
        self.ledger.begun |= dict(zip(numbers, params, strict=True))
        return Round(numbers, params, frozenset(known))

    def _round(self, trials: list[SharedTrial], batch: list[SharedTrial]) -> Round:
        known = frozenset(t.number for t in trials if t.record is not None)
        return Round([t.number for t in batch], [t.params for t in batch], known)
