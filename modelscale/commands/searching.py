"""A search on its way: batches of trials, each batch trained as cohorts of equal structure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from modelscale.commands.aims import Aims, measured_of_network
from modelscale.commands.search_width import together
from modelscale.commands.telling import Listener
from modelscale.errors import ModelscaleError
from modelscale.runs.metric_log import read
from modelscale.runs.part import METRICS, RunPart
from modelscale.runs.trials import (
    TRIALS,
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
    from modelscale.training.layout import Layout
    from modelscale.training.replica import Replica
    from modelscale.training.stopping import StopRequest
    from modelscale.training.trainer import EpochReport, Outcome

Curve = dict[int, dict[str, float]]  # what was measured, by epoch


@dataclass(frozen=True)
class Begun:
    """A trial that is to be trained.

    Attributes:
        number: Its number.
        params: Values by spec key.
        part: Its folder.
        replicas: What it trains: one replica, or one for each fold.
        static: What was measured of its network before training.
    """

    number: int
    params: Params
    part: RunPart
    replicas: list[Replica]
    static: dict[str, float]


class Search:
    """One search.

    Attributes:
        seconds: Training time so far, earlier sessions included.
        ended: Why there are no more trials.
    """

    def __init__(
        self,
        place: RunPart,
        assembly: Assembly,
        section: TuneSection,
        stop: StopRequest,
        tell: Listener,
    ) -> None:
        from modelscale.training.scoring import Monitor
        from modelscale.training.session import Goal

        self.place, self.assembly, self.section = place, assembly, section
        self.stop, self.tell, self.together = stop, tell, 1
        self.ended: Literal["n_trials", "time", "exhausted"] = "n_trials"
        # Without the search itself, whose space need not be checked again for every trial.
        self.base = assembly.experiment.model_copy(update={"tune": None})
        self.aims = Aims.of(section, assembly.loaded.task)
        self.goal = assembly.goal
        if assembly.experiment.train.monitor == "auto":
            label, maximize = self.aims.followed(assembly.loaded.task)
            self.goal = Goal(assembly.goal.metrics, Monitor(label, maximize))
        self.space = space_of(section.space, assembly.experiment)
        self.queue = starting_points(section, assembly.experiment)
        self.records: dict[int, TrialRecord] = {
            record.number: record
            for record in read_trials(place.path)
            if record.state != "running"
        }
        self.curves: dict[int, Curve] = {n: self._curve(n) for n in self.records}
        self.static = {n: _static(record) for n, record in self.records.items()}
        self.seconds = sum(record.seconds or 0.0 for record in self.records.values())

    def run_all(self) -> list[TrialRecord]:
        """Propose and train until there are `n_trials`; return all trials by number."""
        total = self.section.n_trials
        self.together = together(self.place, self.assembly, self.section)
        with self.tell.progress("trials", total) as progress:
            for numbers in batches(total, self.together, self.section.sampler):
                if all(number in self.records for number in numbers):
                    continue
                self.place.remove("winner")  # of a shorter search
                if self._time_is_up():
                    self.ended = "time"
                    self.tell.warn(f"time is up after {len(self.records)} of {total} trials")
                    break
                if self._run_batch(numbers) < len(numbers):
                    self.ended = "exhausted"
                    self.tell.warn(f"all points of the space are tried: {len(self.records)}")
                    break
                progress.update(len(self.records), self._best())
        self.place.remove("cohorts")  # with what interrupted removals have left in it
        return [self.records[number] for number in sorted(self.records)]

    def _time_is_up(self) -> bool:
        bounds = (self.section.timeout_s, self.assembly.experiment.budget.time_s)
        return any(bound is not None and self.seconds >= bound for bound in bounds)

    def _run_batch(self, numbers: range) -> int:
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
        for group in groups_of([trial.replicas[0] for trial in trials]):
            for cohort in divide(group, self.together):
                members = self._unfinished([trials[k] for k in cohort])
                if members:
                    self._train(members)
        return len(asked)

    def _unfinished(self, trials: list[Begun]) -> list[Begun]:
        """Return who of a cohort is to be trained.

        All of it where its state is on disk, since a state is of all its replicas; else those
        without a result: a longer search begins its last batch again.
        """
        left = [trial for trial in trials if trial.number not in self.records]
        begun = (self.place.path / _cohort_name(trials)).is_dir()
        return trials if left and begun else left

    def _begin(self, number: int, params: Params) -> Begun | None:
        """Note a trial's parameters; what cannot or need not be trained ends at once."""
        if number in self.records:
            part = self.place.sub(f"{TRIALS}/{number:04d}")
        else:
            part = begin_trial(self.place, number, params)
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
        return Begun(number, params, part, replicas, static)

    def _train(self, trials: list[Begun]) -> None:
        from modelscale.training.session import Session
        from modelscale.training.trainer import EpochReport

        name, folds = _cohort_name(trials), self.assembly.folds
        logs = tuple(trial.part.metrics() for trial in trials)
        for log in logs:
            log.rewind(0)
        for trial in trials:
            self.curves[trial.number] = self._curve(trial.number)
            self.static[trial.number] = trial.static
        session = Session(
            [replica for trial in trials for replica in trial.replicas],
            self.goal,
            self.assembly.device,
            self.place.sub(name).checkpoints(),
            logs,
            self.stop,
        )
        before = session.seconds
        try:
            for event in session.run():
                if isinstance(event, EpochReport):
                    measured = _means(event, folds)
                    for k, values in measured.items():
                        logs[k].append({"step": event.step, "epoch": event.epoch, **values})
                        self.curves[trials[k].number][event.epoch] = values
                    for k in self._given_up(event.epoch, [trials[k] for k in measured]):
                        place = next(i for i, trial in enumerate(trials) if trial.number == k)
                        session.trainer.stop([place * folds + fold for fold in range(folds)])
        finally:
            for log in logs:
                log.close()
        self.seconds += session.seconds - before
        outcomes = session.trainer.outcomes
        for k, trial in enumerate(trials):
            own = [outcomes[k * folds + fold] for fold in range(folds)]
            self._save_model(trial, own, session.trainer.cohort.layout)
            self._keep(trial, own, session.seconds / len(trials))
        self.place.remove(name)

    def _given_up(self, epoch: int, living: list[Begun]) -> list[int]:
        """Return the numbers of the trials that the early-stopping rule gives up.

        A trial has only earlier ones as rivals, by number. So what becomes of it does not
        depend on how many follow, or on when the search was interrupted.
        """
        rule = self.section.early_stop
        if rule is None:
            return []
        epochs, up = self.assembly.experiment.train.epochs, self.aims.maximize[0]
        gone = []
        for trial in living:
            rivals = {
                number: curve[epoch] | self.static[number]
                for number, curve in sorted(self.curves.items())
                if epoch in curve and number <= trial.number
            }
            scores, curve = self.aims.scores(rivals), self._first_curve(trial.number)
            if rule.stops(Standing(trial.number, epoch, epochs, scores, curve, up)):
                gone.append(trial.number)
        return gone

    def _first_curve(self, number: int) -> dict[int, float]:
        """Return the first objective by epoch, where it is one that epochs have."""
        name = self.aims.names[0]
        return {e: v[name] for e, v in self.curves[number].items() if name in v}

    def _save_model(self, trial: Begun, outcomes: list[Outcome], layout: Layout) -> None:
        """Save the model of a trial that came to its end; folds have none that is worth it."""
        from modelscale.training.artifact import dump_model

        outcome, *others = outcomes
        if others or outcome.ending != "complete":
            return
        store = trial.part.checkpoints()
        step = outcome.progress.best_step or outcome.step
        store.save(step, dump_model(trial.replicas[0], outcome.weights, layout))
        store.point("best", step)

    def _keep(self, trial: Begun, outcomes: list[Outcome], seconds: float) -> None:
        """Write what a trained trial came to; only then does it count."""
        endings = {outcome.ending for outcome in outcomes}
        ending = next(e for e in ("diverged", "stopped", "complete") if e in endings)
        epoch, values = self._best_epoch(trial, outcomes)
        measured = values | trial.static
        missed = self.aims.missed(measured) if values else ()
        infeasible = ending == "complete" and any(amount > 0 for amount in missed)
        record = TrialRecord(
            number=trial.number,
            state="infeasible" if infeasible else ending,
            params=trial.params,
            values=self.aims.values(measured),
            constraints=missed,
            steps=outcomes[0].step,
            seconds=round(seconds, 3),
            result={
                "best_epoch": epoch,
                "metrics": values,
                "static": trial.static,
            },
        )
        self._finish(trial.part, record)

    def _best_epoch(
        self, trial: Begun, outcomes: list[Outcome]
    ) -> tuple[int, dict[str, float]]:
        """Return the epoch whose numbers a trial stands for, and the numbers.

        One replica stands for its kept epoch. Folds stand for the best epoch of their mean:
        the mean of each fold's own best would be too good to be true.
        """
        curve, monitor = self.curves[trial.number], self.goal.monitor
        if len(outcomes) == 1 or not curve:
            progress = outcomes[0].progress
            return progress.best_epoch, dict(progress.best_values)
        name = f"validation/{monitor.label}"
        best = max(curve, key=lambda e: (monitor.score({monitor.label: curve[e][name]}), -e))
        return best, dict(curve[best])

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
        lines = read(trial_folder(self.place.path, number) / METRICS)
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


def _cohort_name(trials: list[Begun]) -> str:
    return f"cohorts/{trials[0].number:04d}"


def _means(event: EpochReport, folds: int) -> dict[int, dict[str, float]]:
    """Return what an epoch measured of each trial by its place: the mean over its folds."""
    rows: dict[int, list[dict[str, float]]] = {}
    for index, values in event.values.items():
        rows.setdefault(index // folds, []).append(values)
    return {
        place: {key: math.fsum(row[key] for row in own) / len(own) for key in own[0]}
        for place, own in rows.items()
        if len(own) == folds
    }


def _static(record: TrialRecord) -> dict[str, float]:
    return dict(record.result.get("static", {}))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
