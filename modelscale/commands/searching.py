"""A search on its way: batches of trials, each batch trained as cohorts of equal structure."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from modelscale.commands.telling import Listener
from modelscale.errors import ModelscaleError
from modelscale.evaluation.metric_names import direction_of
from modelscale.runs.folder import RunFolder
from modelscale.runs.metric_log import read
from modelscale.runs.part import METRICS, RunPart
from modelscale.runs.trials import TrialRecord, begin_trial, finish_trial, read_trials
from modelscale.spec.paths import apply
from modelscale.tuning.proposals import Finished, Space, propose
from modelscale.tuning.section import TuneSection
from modelscale.tuning.space import Params, distributions

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.training.replica import Replica
    from modelscale.training.session import Session
    from modelscale.training.stopping import StopRequest
    from modelscale.training.trainer import EpochReport, Outcome

PLAN = "cohorts.json"
MOST_TOGETHER = 64
LEARNING_ROUNDS = 8
"""A sampler that learns is told results at least so often."""


@dataclass(frozen=True)
class Objective:
    """What the search wants.

    Attributes:
        label: "loss" or the label of a metric, on the validation part.
        maximize: Whether larger is better.
    """

    label: str
    maximize: bool


@dataclass(frozen=True)
class Batching:
    """How trials are proposed and trained; measured once, then kept for exact resumes.

    Attributes:
        batch: Trials proposed at once.
        cohort: Most trials trained together.
        threads: CPU threads, where the user does not say.
    """

    batch: int
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
    """

    number: int
    params: Params
    part: RunPart
    replica: Replica


def planned(assembly: Assembly, section: TuneSection) -> Objective:
    """Return the objective of a search."""
    label = section.metric.rpartition("/")[2]
    direction = section.direction
    if direction == "auto":
        direction = direction_of(label, assembly.loaded.task)
    return Objective(label, direction == "maximize")


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
        self.objective = planned(assembly, section)
        self.goal = assembly.goal
        if assembly.experiment.train.monitor == "auto":
            monitor = Monitor(self.objective.label, self.objective.maximize)
            self.goal = Goal(assembly.goal.metrics, monitor)
        self.space = Space(section.space, distributions(section.space, assembly.experiment))
        self.records: dict[int, TrialRecord] = {
            record.number: record
            for record in read_trials(run.path)
            if record.state != "running"
        }
        self.curves = {number: self._curve(number) for number in self.records}
        self.seconds = sum(record.seconds or 0.0 for record in self.records.values())

    def run_all(self) -> list[TrialRecord]:
        """Propose and train until there are `n_trials`; return all trials by number."""
        from modelscale.training.determinism import use_threads

        batching, total = self._batching(), self.section.n_trials
        use_threads(self.assembly.threads or batching.threads)
        with self.tell.progress("trials", total) as progress:
            for first in range(0, total, batching.batch):
                numbers = range(first, min(first + batching.batch, total))
                if all(number in self.records for number in numbers):
                    continue
                if self._time_is_up():
                    self.tell.warn(f"time is up after {len(self.records)} of {total} trials")
                    break
                self._run_batch(first, len(numbers), batching)
                progress.update(len(self.records), self._best())
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
        batch = cohort
        if self.section.sampler.learns:
            batch = max(1, min(cohort, -(-total // LEARNING_ROUNDS)))
        batching = Batching(min(batch, total), cohort, self.assembly.threads or threads)
        self.run.write(PLAN, json.dumps(asdict(batching)).encode())
        return batching

    def _measured_size(self, replicas: list[Replica]) -> int:
        from modelscale.training.grouping import best_size, measure

        return best_size(measure(replicas, self.assembly.device)) if len(replicas) > 1 else 1

    def _time_is_up(self) -> bool:
        bounds = (self.section.timeout_s, self.assembly.experiment.budget.time_s)
        return any(bound is not None and self.seconds >= bound for bound in bounds)

    def _run_batch(self, first: int, count: int, batching: Batching) -> None:
        from modelscale.training.grouping import divide, groups_of

        earlier = [self._finished(self.records[number]) for number in range(first)]
        asked = propose(
            self.section.sampler,
            self.space,
            earlier,
            count,
            self.assembly.experiment.seed,
            self.objective.maximize,
        )
        begun = [self._begin(first + k, params) for k, params in enumerate(asked)]
        trials = [trial for trial in begun if trial is not None]
        for group in groups_of([trial.replica for trial in trials]):
            for cohort in divide(group, batching.cohort):
                members = [trials[k] for k in cohort]
                if not all(trial.number in self.records for trial in members):
                    self._train(members)

    def _begin(self, number: int, params: Params) -> Begun | None:
        """Note a trial's parameters; a trial that no model can be made of has failed."""
        part = begin_trial(self.run.part, number, params)
        try:
            variant = apply(self.assembly.experiment, params)
            replica = self.assembly.replica(0, self.assembly.experiment.seed, variant)
        except (ValidationError, ModelscaleError) as error:
            faults = error.errors() if isinstance(error, ValidationError) else [{"msg": error}]
            reason = "; ".join(str(fault["msg"]) for fault in faults)
            if number not in self.records:
                self._finish(part, TrialRecord(number=number, params=params), "failed", reason)
            return None
        return Begun(number, params, part, replica)

    def _train(self, trials: list[Begun]) -> None:
        from modelscale.training.session import Session
        from modelscale.training.trainer import EpochReport

        name = f"cohorts/{trials[0].number:04d}"
        logs = tuple(trial.part.metrics() for trial in trials)
        for log in logs:
            log.rewind(0)
        for trial in trials:
            self.curves[trial.number] = self._curve(trial.number)
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
                    self._halve(event, trials, session)
        finally:
            for log in logs:
                log.close()
        self.seconds += session.seconds - before
        for k, trial in enumerate(trials):
            self._keep(trial, session.trainer.outcomes[k], session.seconds / len(trials))
        self.run.part.remove(name)

    def _halve(self, event: EpochReport, trials: list[Begun], session: Session) -> None:
        """Stop the trials of a cohort that the early-stopping rule gives up."""
        sign = 1.0 if self.objective.maximize else -1.0
        scores = {}
        for k, values in event.values.items():
            value = values[f"validation/{self.objective.label}"]
            self.curves[trials[k].number][event.epoch] = value
            scores[k] = sign * value if math.isfinite(value) else -math.inf
        rule = self.section.early_stop
        if rule is None:
            return
        # Later trials are told apart by number: a resumed search compares with the same ones.
        others = [
            sign * curve[event.epoch]
            for number, curve in self.curves.items()
            if event.epoch in curve and number < trials[0].number
        ]
        rivals = [score for score in (*others, *scores.values()) if math.isfinite(score)]
        epochs = self.assembly.experiment.train.epochs
        gone = [k for k, s in scores.items() if rule.stops(event.epoch, epochs, s, rivals)]
        session.trainer.stop(gone)

    def _keep(self, trial: Begun, outcome: Outcome, seconds: float) -> None:
        """Save a trained trial's model, then its result; only then does it count."""
        from modelscale.training.artifact import dump_model

        progress = outcome.progress
        if outcome.ending == "complete":
            store = trial.part.checkpoints()
            step = progress.best_step or outcome.step
            store.save(step, dump_model(trial.replica, outcome.weights))
            store.point("best", step)
        value = progress.best_values.get(f"validation/{self.objective.label}")
        record = TrialRecord(
            number=trial.number,
            params=trial.params,
            values=(value if value is not None and math.isfinite(value) else None,),
            steps=outcome.step,
            seconds=round(seconds, 3),
            result={"best_epoch": progress.best_epoch, "metrics": progress.best_values},
        )
        self._finish(trial.part, record, outcome.ending, None)

    def _finish(
        self, part: RunPart, record: TrialRecord, state: str, error: str | None
    ) -> None:
        record = record.model_copy(update={"state": state, "error": error})
        finish_trial(part, record)
        self.records[record.number] = record
        self.curves[record.number] = self._curve(record.number)
        value = record.values[0] if record.values else None
        told = f"{value:.5g}" if value is not None else error or "–"
        params = "  ".join(f"{key}={_short(v)}" for key, v in record.params.items())
        self.tell.detail(f"trial {record.number} {state} {told}  {params}")

    def _curve(self, number: int) -> dict[int, float]:
        """Return the objective by epoch, as the trial's own log has it."""
        key = f"validation/{self.objective.label}"
        lines = read(self.run.path / "trials" / f"{number:04d}" / METRICS)
        return {line["epoch"]: line[key] for line in lines if line.get(key) is not None}

    def _finished(self, record: TrialRecord) -> Finished:
        states: dict[str, Any] = {"complete": "complete", "stopped": "stopped"}
        return Finished(
            record.params,
            record.values[0] if record.values else None,
            cast(Any, states.get(record.state, "failed")),
            self.curves[record.number],
        )

    def _best(self) -> str:
        values = [
            record.values[0]
            for record in self.records.values()
            if record.state == "complete" and record.values and record.values[0] is not None
        ]
        if not values:
            return ""
        best = max(values) if self.objective.maximize else min(values)
        return f"best {self.section.metric} {best:.5g}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
