"""A search on its way: rounds of proposals, each trained as cohorts of equal structure."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING

from pydantic import ValidationError

from modelscale.commands.aims import Aims, measured_of_network
from modelscale.commands.search_ledger import Ledger
from modelscale.commands.search_rounds import CLAIMS, Ended, Host, Member, Round, Rounds
from modelscale.commands.search_shared import Shared, SharedRounds
from modelscale.commands.search_stream import Stream
from modelscale.commands.search_training import Begun, TrialTrainer, cohort_name
from modelscale.commands.search_width import Width, can_fork, together, width_of
from modelscale.commands.search_workers import WorkerPlan, beside, forked, spawned
from modelscale.commands.telling import Listener, Unheard
from modelscale.errors import ModelscaleError
from modelscale.runs.part import RunPart
from modelscale.runs.trials import TRIALS, TrialRecord, begin_trial
from modelscale.spec.paths import apply
from modelscale.tuning.batching import batches
from modelscale.tuning.history import History
from modelscale.tuning.proposals import propose
from modelscale.tuning.section import TuneSection
from modelscale.tuning.shared_study import SharedStudy
from modelscale.tuning.space import Params, space_of
from modelscale.tuning.starting import starting_points

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.training.stopping import StopRequest

BASELINE = "baseline"
"""The part of a run in which a random search with the same budget has its trials."""


class Search:
    """One search, as one of the processes that share it.

    Attributes:
        ledger: What is known of its trials.
        ended: Why there are no more trials.
    """

    def __init__(
        self,
        place: RunPart,
        assembly: Assembly,
        section: TuneSection,
        stop: StopRequest,
        tell: Listener,
        member: Member | None = None,
        shared: Shared | None = None,
    ) -> None:
        """Begin, or go on with what is on disk.

        Args:
            place: Where its trials are kept.
            assembly: What is trained.
            section: What is searched.
            stop: Looked at after every step.
            tell: Hears of trials.
            member: Which of its processes this one is; None for the one that starts the
                others.
            shared: The database through which other machines take part.
        """
        from modelscale.training.scoring import Monitor
        from modelscale.training.session import Goal

        self.place, self.assembly, self.section = place, assembly, section
        self.stop, self.tell, self.member, self.shared = stop, tell, member, shared
        self.ended: Ended = "n_trials"
        # Without the search itself, whose space need not be checked again for every trial.
        self.base = assembly.experiment.model_copy(update={"tune": None})
        self.aims = Aims.of(section, assembly.loaded.task)
        self.goal = assembly.goal
        if assembly.experiment.train.monitor == "auto":
            label, maximize = self.aims.followed(assembly.loaded.task)
            self.goal = Goal(assembly.goal.metrics, Monitor(label, maximize))
        self.space = space_of(section.space, assembly.experiment)
        self.queue = starting_points(section, assembly.experiment)
        self.ledger = Ledger(place, self.aims)
        self.trainer = TrialTrainer(
            place, assembly, section, self.aims, self.goal, self.ledger, stop
        )
        self.workers = 1

    @property
    def seconds(self) -> float:
        """Training time so far, earlier sessions included: of one process, in the mean."""
        return self.ledger.seconds / self.workers

    def run_all(self) -> list[TrialRecord]:
        """Propose and train until there are `n_trials`; return all trials by number."""
        total, records = self.section.n_trials, self.ledger.records
        width = width_of(self.place, self.assembly, self.section)
        self.together, self.workers = together(width, self.assembly), width.workers
        plan = batches(total, self.together, self.section.sampler, width.workers)
        member = self.member or Member(0, width.workers)
        name, maximize = self.aims.names[0], self.aims.maximize[0]
        with self.tell.trials(name, maximize, total, tuple(records.values())) as self.told:
            rounds = self._rounds(plan, member)
            over = all(number in records for number in range(total))
            with closing(rounds), nullcontext() if over or self.member else self._others(width):
                if self._streams():
                    self.ended = self._train_stream(plan)
                else:
                    self.ended = self._train_rounds(rounds)
        if self.member is None:
            self.place.remove("cohorts")  # with what interrupted removals have left in it
            self.place.remove(CLAIMS)
        if len(records) == total:
            self.ended = "n_trials"
        if self.ended == "time":
            self.tell.warn(f"time is up after {len(records)} of {total} trials")
        if self.ended == "exhausted":
            self.tell.warn(f"all points of the space are tried: {len(records)}")
        return [records[number] for number in sorted(records)]

    def _streams(self) -> bool:
        """Return whether places that are freed early are refilled.

        Only in one process: with several, who trains beside whom would depend on their speed.
        """
        stops = self.section.early_stop is not None
        alone = self.workers == 1 and self.member is None and self.shared is None
        return alone and (stops or self.assembly.experiment.train.early_stopping is not None)

    def _train_stream(self, plan: list[range]) -> Ended:
        host = Host(self._ask, self.stop, self.told.ended, self._time_is_up)
        stream = Stream(self.trainer, plan, self._begin, host, self.together, self.told)
        stream.run()
        return stream.ended

    def _train_rounds(self, rounds: Rounds | SharedRounds) -> Ended:
        while (found := rounds.next()) is not None:
            self._train_round(found)
            rounds.release()
        rounds.refresh()
        return rounds.ended

    def _rounds(self, plan: list[range], member: Member) -> Rounds | SharedRounds:
        host = Host(self._ask, self.stop, self.told.ended, self._time_is_up)
        if self.shared is None:
            return Rounds(self.ledger, plan, member, host)
        of_baseline = f"-{BASELINE}" if self.place.path.name == BASELINE else ""
        study = SharedStudy(
            self.shared.url,
            self.shared.study + of_baseline,
            self.space,
            self.aims.names,
            self.aims.maximize,
            f"{self.shared.owner}-{member.index}",
        )
        return SharedRounds(study, self.ledger, self.section, self.together, host)

    def _others(self, width: Width) -> AbstractContextManager[None]:
        """Return the other processes of the search, at work within the block."""
        self.place.remove("winner")  # of a shorter search
        if width.workers == 1:
            return nullcontext()
        threads = self.assembly.threads or width.threads
        if can_fork(self.assembly.device, threads) and self.shared is None:
            return beside(forked(self._member, width.workers), self.tell)
        run = self.place.path if self.place.path.name != BASELINE else self.place.path.parent
        storage = None if self.shared is None else self.shared.url
        baseline = self.place.path != run
        plan = WorkerPlan(run, baseline, self.assembly.experiment.device, threads, storage)
        return beside(spawned(plan, width.workers), self.tell)

    def _member(self, member: Member, stop: StopRequest) -> None:
        """Take part in the same search as another of its processes."""
        stop.signal = stop.signal or self.stop.signal  # one that came while it was begun
        Search(self.place, self.assembly, self.section, stop, Unheard(), member).run_all()

    def _time_is_up(self) -> bool:
        bounds = (self.section.timeout_s, self.assembly.experiment.budget.time_s)
        return any(bound is not None and self.seconds >= bound for bound in bounds)

    def _ask(self, known: list[int], pending: list[int], count: int) -> list[Params]:
        """Propose trials; those that began before are as they were."""
        begun = self.ledger.begun
        numbers = range(len(known) + len(pending), len(known) + len(pending) + count)
        if all(number in begun for number in numbers):
            return [begun[number] for number in numbers]
        history = History(
            self.space,
            [self.ledger.finished(number) for number in known],
            self.aims.maximize,
            self.assembly.experiment.seed,
        )
        running = [begun[number] for number in pending]
        asked = propose(self.section.sampler, history, count, self.queue, running)
        return [begun.get(number, p) for number, p in zip(numbers, asked, strict=False)]

    def _train_round(self, found: Round) -> None:
        from modelscale.training.grouping import divide, groups_of

        asked = zip(found.numbers, found.params, strict=False)
        rivals = found.known | frozenset(found.numbers)
        begun = [self._begin(number, params, rivals) for number, params in asked]
        trials = [trial for trial in begun if trial is not None]
        for group in groups_of([trial.replicas[0] for trial in trials]):
            for cohort in divide(group, self.together):
                members = self._unfinished([trials[k] for k in cohort])
                if members:
                    self.trainer.train(members, self.told)

    def _unfinished(self, trials: list[Begun]) -> list[Begun]:
        """Return who of a cohort is to be trained.

        All of it where its state is on disk, since a state is of all its replicas; else those
        without a result: a longer search begins its last batch again.
        """
        left = [trial for trial in trials if trial.number not in self.ledger.records]
        begun = (self.place.path / cohort_name(trials)).is_dir()
        return trials if left and begun else left

    def _begin(self, number: int, params: Params, rivals: frozenset[int]) -> Begun | None:
        """Note a trial's parameters; what cannot or need not be trained ends at once."""
        if number in self.ledger.records:
            part = self.place.sub(f"{TRIALS}/{number:04d}")
        else:
            part = begin_trial(self.place, number, params)
        self.ledger.begun[number] = params
        ended = TrialRecord(number=number, params=params, state="failed")
        try:
            variant = apply(self.base, params)
            seed, folds = self.assembly.experiment.seed, range(self.assembly.folds)
            replicas = [self.assembly.replica(fold, seed, variant) for fold in folds]
            static = measured_of_network(replicas[0], (*self.aims.names, *self.aims.bounds))
        except (ValidationError, ModelscaleError) as error:
            faults = error.errors() if isinstance(error, ValidationError) else [{"msg": error}]
            reason = "; ".join(str(fault["msg"]) for fault in faults)
            self._finish(part, ended.model_copy(update={"error": reason}))
            return None
        missed = self.aims.missed(static)
        if any(amount > 0 for amount in missed):
            found = {"state": "infeasible", "constraints": missed, "result": {"static": static}}
            self._finish(part, ended.model_copy(update=found))
            return None
        return Begun(number, params, part, replicas, static, rivals)

    def _finish(self, part: RunPart, record: TrialRecord) -> None:
        if self.ledger.finish(part, record):
            self.told.ended(record)
