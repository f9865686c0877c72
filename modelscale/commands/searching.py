"""A search on its way: batches of trials, each batch trained as cohorts of equal structure."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelscale.commands.aims import Aims, measured_of_network
from modelscale.commands.telling import Listener
from modelscale.errors import ModelscaleError
from modelscale.runs.folder import RunFolder
from modelscale.runs.metric_log import read
from modelscale.runs.part import METRICS, RunPart
from modelscale.runs.trials import (
    TrialRecord,
    begin_trial,
    finish_trial,
    read_trials,
    trial_folder,
)
from modelscale.spec.paths import apply
from modelscale.tuning.batching import batches
from modelscale.tuning.early_stops.base import Standing
from modelscale.tuning.history import Finished
from modelscale.tuning.proposals import propose
from modelscale.tuning.section import TuneSection
from modelscale.tuning.space import Params, space_of
from modelscale.tuning.starting import starting_points

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.training.replica import Replica
    from modelscale.training.session import Session
    from modelscale.training.stopping import StopRequest
    from modelscale.training.trainer import EpochReport, Outcome

PLAN = "cohorts.json"
MOST_TOGETHER = 64

Curve = dict[int, dict[str, float]]  # what was measured, by epoch


@dataclass(frozen=True)
class Batching:
    """How trials are proposed and trained; measured once, then kept for exact resumes.

    Attributes:
        cohort: Most trials trained together.
        threads: CPU threads, where the user does not say.
    """

    cohort: int
    threads: int


@dataclass(frozen=True)
class Begun:
    """A trial that is to be trained.

    Attributes:
        number: Its number.
        params: Values by spec key.
        part: Its folder.
        replica: What it trains.
        static: What was measured of its network before training.
    """

    number: int
    params: Params
    part: RunPart
    replica: Replica
    static: dict[str, float]


class Search:
    """One search.

    Attributes:
        seconds: Training time so far, earlier sessions included.
    """

    def __init__(
        self,
        run: RunFolder,
        assembly: Assembly,
        section: TuneSection,
        stop: StopRequest,
        tell: Listener,
    ) -> None:
        from modelscale.training.scoring import Monitor
        from modelscale.training.session import Goal

        self.run, self.assembly, self.section = run, assembly, section
        self.stop, self.tell = stop, tell
        self.aims = Aims.of(section, assembly.loaded.task)
        self.goal = assembly.goal
        if assembly.experiment.train.monitor == "auto":
            label, maximize = self.aims.followed(assembly.loaded.task)
            self.goal = Goal(assembly.goal.metrics, Monitor(label, maximize))
        self.space = space_of(section.space, assembly.experiment)
        self.queue = starting_points(section, assembly.experiment)
        self.records: dict[int, TrialRecord] = {
            record.number: record
            for record in read_trials(run.path)
            if record.state != "running"
        }
        self.curves: dict[int, Curve] = {n: self._curve(n) for n in self.records}
        self.static = {n: _static(record) for n, record in self.records.items()}
        self.seconds = sum(record.seconds or 0.0 for record in self.records.values())

    def run_all(self) -> list[TrialRecord]:
        """Propose and train until there are `n_trials`; return all trials by number."""
        from modelscale.training.determinism import use_threads

        batching, total = self._batching(), self.section.n_trials
        use_threads(self.assembly.threads or batching.threads)
        with self.tell.progress("trials", total) as progress:
            for numbers in batches(total, batching.cohort, self.section.sampler):
                if all(number in self.records for number in numbers):
                    continue
                if self._time_is_up():
                    self.tell.warn(f"time is up after {len(self.records)} of {total} trials")
                    break
                if self._run_batch(numbers, batching) < len(numbers):
                    self.tell.warn(f"all points of the space are tried: {len(self.records)}")
                    break
                progress.update(len(self.records), self._best())
        self.run.part.remove("cohorts")  # with what interrupted removals have left in it
        return [self.records[number] for number in sorted(self.records)]

    def _batching(self) -> Batching:
        path = self.run.path / PLAN
        if path.is_file():
            return Batching(**json.loads(path.read_bytes()))
        from modelscale.training.grouping import best_threads

        total, wanted = self.section.n_trials, self.section.cohort
        seed = self.assembly.experiment.seed
        replicas = [
            self.assembly.replica(0, seed + k) for k in range(min(total, MOST_TOGETHER))
        ]
        cohort = wanted if isinstance(wanted, int) else self._measured_size(replicas)
        threads = best_threads(replicas[:cohort], self.assembly.device)
        batching = Batching(cohort, self.assembly.threads or threads)
        self.run.write(PLAN, json.dumps(asdict(batching)).encode())
        return batching

    def _measured_size(self, replicas: list[Replica]) -> int:
        from modelscale.training.grouping import best_size, measure

        return best_size(measure(replicas, self.assembly.device)) if len(replicas) > 1 else 1

    def _time_is_up(self) -> bool:
        bounds = (self.section.timeout_s, self.assembly.experiment.budget.time_s)
        return any(bound is not None and self.seconds >= bound for bound in bounds)

    def _run_batch(self, numbers: range, batching: Batching) -> int:
        """Train a batch of trials; return how many there are, fewer once all is tried."""
        from modelscale.training.grouping import divide, groups_of

        first = numbers.start
        earlier = [self._finished(self.records[number]) for number in range(first)]
        asked = propose(
            self.section.sampler,
            self.space,
            earlier,
            len(numbers),
            self.assembly.experiment.seed,
            self.aims.maximize,
            self.queue,
        )
        begun = [self._begin(first + k, params) for k, params in enumerate(asked)]
        trials = [trial for trial in begun if trial is not None]
        for group in groups_of([trial.replica for trial in trials]):
            for cohort in divide(group, batching.cohort):
                members = [trials[k] for k in cohort]
                if not all(trial.number in self.records for trial in members):
                    self._train(members)
        return len(asked)

    def _begin(self, number: int, params: Params) -> Begun | None:
        """Note a trial's parameters; what cannot or need not be trained ends at once."""
        part = begin_trial(self.run.part, number, params)
        ended = TrialRecord(number=number, params=params, state="failed")
        try:
            variant = apply(self.assembly.experiment, params)
            replica = self.assembly.replica(0, self.assembly.experiment.seed, variant)
            static = measured_of_network(replica, (*self.aims.names, *self.aims.bounds))
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
        return Begun(number, params, part, replica, static)

    def _train(self, trials: list[Begun]) -> None:
        from modelscale.training.session import Session
        from modelscale.training.trainer import EpochReport

        name = f"cohorts/{trials[0].number:04d}"
        logs = tuple(trial.part.metrics() for trial in trials)
        for log in logs:
            log.rewind(0)
        for trial in trials:
            self.curves[trial.number] = self._curve(trial.number)
            self.static[trial.number] = trial.static
        session = Session(
            [trial.replica for trial in trials],
            self.goal,
            self.assembly.device,
            self.run.sub(name).checkpoints(),
            logs,
            self.stop,
        )
        before = session.seconds
        try:
            for event in session.run():
                if isinstance(event, EpochReport):
                    for k, values in event.values.items():
                        logs[k].append({"step": event.step, "epoch": event.epoch, **values})
                    self._give_up(event, trials, session)
        finally:
            for log in logs:
                log.close()
        self.seconds += session.seconds - before
        for k, trial in enumerate(trials):
            self._keep(trial, session.trainer.outcomes[k], session.seconds / len(trials))
        self.run.part.remove(name)

    def _give_up(self, event: EpochReport, trials: list[Begun], session: Session) -> None:
        """Stop the trials of a cohort that the early-stopping rule gives up."""
        epoch = event.epoch
        for k, values in event.values.items():
            self.curves[trials[k].number][epoch] = values
        rule = self.section.early_stop
        if rule is None:
            return
        living = {trials[k].number for k in event.values}
        # Later trials are told apart by number: a resumed search compares with the same ones.
        rivals = {
            number: curve[epoch] | self.static[number]
            for number, curve in sorted(self.curves.items())
            if epoch in curve and (number < trials[0].number or number in living)
        }
        scores = self.aims.scores(rivals)
        epochs, up = self.assembly.experiment.train.epochs, self.aims.maximize[0]
        gone = []
        for k in event.values:
            number = trials[k].number
            curve = self._first_curve(number)
            if rule.stops(Standing(number, epoch, epochs, scores, curve, up)):
                gone.append(k)
        session.trainer.stop(gone)

    def _first_curve(self, number: int) -> dict[int, float]:
        """Return the first objective by epoch, where it is one that epochs have."""
        name = self.aims.names[0]
        return {e: v[name] for e, v in self.curves[number].items() if name in v}

    def _keep(self, trial: Begun, outcome: Outcome, seconds: float) -> None:
        """Save a trained trial's model, then its result; only then does it count."""
        from modelscale.training.artifact import dump_model

        progress = outcome.progress
        if outcome.ending == "complete":
            store = trial.part.checkpoints()
            step = progress.best_step or outcome.step
            store.save(step, dump_model(trial.replica, outcome.weights))
            store.point("best", step)
        measured = progress.best_values | trial.static
        missed = self.aims.missed(measured) if progress.best_values else ()
        infeasible = outcome.ending == "complete" and any(amount > 0 for amount in missed)
        record = TrialRecord(
            number=trial.number,
            state="infeasible" if infeasible else outcome.ending,
            params=trial.params,
            values=self.aims.values(measured),
            constraints=missed,
            steps=outcome.step,
            seconds=round(seconds, 3),
            result={
                "best_epoch": progress.best_epoch,
                "metrics": progress.best_values,
                "static": trial.static,
            },
        )
        self._finish(trial.part, record)

    def _finish(self, part: RunPart, record: TrialRecord) -> None:
        """Let a trial's result count; one that counts already stands."""
        number = record.number
        if number in self.records:
            return
        finish_trial(part, record)
        self.records[number] = record
        self.curves[number] = self._curve(number)
        self.static[number] = _static(record)
        value = record.values[0] if record.values else None
        told = f"{value:.5g}" if value is not None else record.error or "–"
        params = "  ".join(f"{key}={_short(v)}" for key, v in record.params.items())
        self.tell.detail(f"trial {number} {record.state} {told}  {params}")

    def _curve(self, number: int) -> Curve:
        """Return what was measured of a trial by epoch, as its own log has it."""
        lines = read(trial_folder(self.run.path, number) / METRICS)
        return {
            line["epoch"]: {
                key: math.nan if value is None else value
                for key, value in line.items()
                if key not in {"step", "epoch", "nonfinite"}
            }
            for line in lines
        }

    def _finished(self, record: TrialRecord) -> Finished:
        assert record.state != "running"
        curve = self._first_curve(record.number)
        missed = tuple(math.inf if amount is None else amount for amount in record.constraints)
        return Finished(record.params, record.values, record.state, curve, missed)

    def _best(self) -> str:
        values = [
            record.values[0]
            for record in self.records.values()
            if record.state == "complete" and record.values and record.values[0] is not None
        ]
        if not values:
            return ""
        best = max(values) if self.aims.maximize[0] else min(values)
        return f"best {self.aims.names[0]} {best:.5g}"


def _static(record: TrialRecord) -> dict[str, float]:
    return dict(record.result.get("static", {}))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
