"""A search in one stream: places that early stopping frees are refilled while others train on.

A round of proposals may begin while the trials of some rounds before it still train. It knows
the results of all rounds before those, and of those the parameters alone, so that what is
proposed, and who is compared with whom, follows from the numbers of trials. Who trains beside
whom follows from the state on disk, so that a search that was killed goes on bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.commands.search_rounds import OVERLAP, Ended, Host, first_unknown
from modelscale.commands.search_training import Begun, TrialTrainer
from modelscale.commands.telling import Trials
from modelscale.runs.checkpoints import CheckpointStore
from modelscale.runs.metric_log import MetricLog
from modelscale.tuning.space import Params

if TYPE_CHECKING:
    from modelscale.training.session import Session
    from modelscale.training.trainer import EpochReport

COHORTS = "cohorts"
Begin = Callable[[int, Params, frozenset[int]], Begun | None]
"""From a trial's number, parameters and possible rivals to what is trained, if anything."""


@dataclass
class Stream:
    """Trains the trials of a search.

    Attributes:
        trainer: Knows how a cohort of trials is trained and what is kept of it.
        plan: The numbers of each round's trials.
        begin: Makes what is trained.
        host: The search.
        together: Most trials that train together.
        told: Hears of trials.
        ended: Why there are no more.
    """

    trainer: TrialTrainer
    plan: list[range]
    begin: Begin
    host: Host
    together: int
    told: Trials
    ended: Ended = "n_trials"

    def __post_init__(self) -> None:
        self.place, self.number = 0, 0  # of the next round, of the session
        self.limit = self.plan[-1].stop
        self.training: list[Begun] = []
        self.waiting: list[Begun] = []
        self.seconds: dict[int, float] = {}
        self.logs: dict[int, MetricLog] = {}
        self.settled: set[int] = set()  # of an earlier, shorter search
        self.session: Session | None = None
        self.structure: tuple[object, ...] = ()  # of those who train

    def run(self) -> None:
        """Propose and train until nothing is left, going on from the state on disk.

        Raises:
            TryAgain: If a stop was asked for; the state is saved.
        """
        self._restore()
        while True:
            if self.session is None and not self._open():
                return
            self._train()

    def _restore(self) -> None:
        """Go on with the newest session that is on disk, else with what the ledger has."""
        from modelscale.training.session import saved_notes

        folder, records = self.trainer.place.path / COHORTS, self.trainer.ledger.records
        for name in sorted((path.name for path in folder.glob("[0-9]*")), reverse=True):
            notes = saved_notes(CheckpointStore(folder / name / "checkpoints"))
            if notes:
                facts = json.loads(notes[0])
                self.place, self.number = facts["place"], int(name)
                self.settled = set(facts["settled"])
                self.seconds = {int(n): s for n, s in facts["seconds"].items()}
                self.training = self._known_before(facts["training"])
                self.waiting = self._known_before(facts["waiting"])
                for trial in self.waiting:  # may have trained after the state was saved
                    self.trainer.ledger.curves.pop(trial.number, None)
                if self.training:
                    self.session = self._session()
                return
        begun, self.settled = self.trainer.ledger.begun, set(records)
        while self.place < len(self.plan) and all(n in begun for n in self.plan[self.place]):
            self.place += 1
        before = range(
            self.plan[self.place].start if self.place < len(self.plan) else self.limit
        )
        self.waiting = self._known_before([n for n in before if n not in records])

    def _known_before(self, numbers: list[int]) -> list[Begun]:
        found = [self.begin(n, self.trainer.ledger.begun[n], self._rivals(n)) for n in numbers]
        return [trial for trial in found if trial is not None]

    def _rivals(self, number: int) -> frozenset[int]:
        """Return the trials that one may be compared with: known ones, and its own round."""
        place = next(p for p, numbers in enumerate(self.plan) if number in numbers)
        return frozenset(range(self._known(place))) | frozenset(self.plan[place])

    def _known(self, place: int) -> int:
        """Return the first trial whose result a round may not depend on."""
        learns = self.trainer.section.sampler.learns
        return self.plan[first_unknown(self.plan, place, OVERLAP, learns=learns)].start

    def _ask(self, free: int) -> None:
        """Propose further rounds as long as there are places and the rounds may begin."""
        while len(self.waiting) < free and self._ready():
            numbers, known = self.plan[self.place], self._known(self.place)
            pending = list(range(known, numbers.start))
            params = self.host.ask(list(range(known)), pending, len(numbers))
            if len(params) < len(numbers):
                self.limit, self.ended = numbers.start + len(params), "exhausted"
            for number, point in zip(numbers, params, strict=False):
                trial = self.begin(number, point, self._rivals(number))
                if trial is not None and number not in self.settled:
                    self.waiting.append(trial)
            self.place += 1

    def _ready(self) -> bool:
        if self.place == len(self.plan) or self.plan[self.place].start >= self.limit:
            return False
        at_work = [trial.number for trial in (*self.training, *self.waiting)]
        if min(at_work, default=self.limit) < self._known(self.place):
            return False
        if self.host.time_is_up():
            self.ended = "time"
            return False
        return True

    def _take(self, free: int, structure: tuple[object, ...] | None) -> list[Begun]:
        """Return waiting trials of one structure: the given one, or that of who waits first."""
        from modelscale.training.replica import structure_of

        self._ask(free)
        if not self.waiting or free < 1:
            return []
        wanted = structure or structure_of(self.waiting[0].replicas[0])
        same = [t for t in self.waiting if structure_of(t.replicas[0]) == wanted][:free]
        chosen = {trial.number for trial in same}
        self.waiting = [trial for trial in self.waiting if trial.number not in chosen]
        return same

    def _open(self) -> bool:
        """Begin a session with whoever waits; return whether there is anybody."""
        self.training = self._take(self.together, None)
        if not self.training:
            return False
        self.number += 1
        self.session = self._session()
        self._note()
        self.session.save()  # results may be on disk before the next state is
        self.trainer.place.remove(f"{COHORTS}/{self.number - 1:04d}")
        return True

    def _session(self) -> Session:
        from modelscale.training.replica import structure_of
        from modelscale.training.session import Session

        place = self.trainer.place.sub(f"{COHORTS}/{self.number:04d}")
        self.structure = structure_of(self.training[0].replicas[0])
        self.logs = {trial.number: self.trainer.opened(trial) for trial in self.training}
        return Session(
            [replica for trial in self.training for replica in trial.replicas],
            self.trainer.goal,
            self.trainer.assembly.device,
            place.checkpoints(),
            list(self.logs.values()),
            self.host.stop,
        )

    def _train(self) -> None:
        """Train until the places are empty and nobody who waits fits in."""
        from modelscale.training.trainer import EpochReport

        assert self.session is not None
        try:
            while self.training:
                before = self.session.seconds
                for event in self.session.run():
                    if isinstance(event, EpochReport):
                        self._turn(event, self.session.seconds - before)
                        before = self.session.seconds
                self._refill()  # where the last ones have diverged
        finally:
            for log in self.logs.values():
                log.close()
        self.session = None

    def _turn(self, event: EpochReport, seconds: float) -> None:
        """Log an epoch, give up the hopeless, and let others in."""
        assert self.session is not None
        indices = self._indices()
        measured = self.trainer.log(event, self.training, indices, self.logs)
        for trial in measured:
            share = seconds / len(measured)
            self.seconds[trial.number] = self.seconds.get(trial.number, 0.0) + share
        youngest = min((m.epoch for m in event.moments.values()), default=0)
        self.told.training([t.number for t in measured], youngest, self.session.plan.epochs)
        gone = self.trainer.given_up(event, measured, indices)
        self.session.trainer.stop([index for number in gone for index in indices[number]])
        self.session.trainer.retire()
        self._refill()

    def _indices(self) -> dict[int, list[int]]:
        """Return the trainer's indices of each trial's replicas."""
        assert self.session is not None
        folds, found = self.trainer.assembly.folds, self.session.trainer.indices
        return {
            trial.number: found[place * folds : (place + 1) * folds]
            for place, trial in enumerate(self.training)
        }

    def _refill(self) -> None:
        """Keep what has ended, and put those who wait in its place."""
        assert self.session is not None
        trainer, indices = self.session.trainer, self._indices()
        out = {number for number, own in indices.items() if set(own) <= trainer.outcomes.keys()}
        ended = [trial for trial in self.training if trial.number in out]
        for trial in ended:
            own = indices[trial.number]
            outcomes = [trainer.outcomes[index] for index in own]
            seconds = self.seconds.pop(trial.number, 0.0)
            self.trainer.keep(trial, outcomes, trainer.cohort.layout, seconds, self.told)
            log = self.logs.pop(trial.number)
            self.session.forget(own, [log])
            log.close()
        self.training = [trial for trial in self.training if trial.number not in out]
        new = self._take(self.together - len(self.training), self.structure)
        if new:
            logs = {trial.number: self.trainer.opened(trial) for trial in new}
            replicas = [replica for trial in new for replica in trial.replicas]
            self.session.join(replicas, list(logs.values()))
            self.logs |= logs
            self.training += new
        self._note()

    def _note(self) -> None:
        assert self.session is not None
        facts = {
            "place": self.place,
            "training": [trial.number for trial in self.training],
            "waiting": [trial.number for trial in self.waiting],
            "seconds": self.seconds,
            "settled": sorted(self.settled),
        }
        self.session.notes[:] = [json.dumps(facts)]
