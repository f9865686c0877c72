"""The trials of one cohort trained to their ends, with those that are given up early."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.commands.aims import Aims
from modelscale.commands.search_ledger import Ledger
from modelscale.commands.telling import Trials
from modelscale.runs.metric_log import MetricLog
from modelscale.runs.part import RunPart
from modelscale.runs.trials import TrialRecord
from modelscale.tuning.early_stops.base import Standing
from modelscale.tuning.section import TuneSection
from modelscale.tuning.space import Params

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.training.layout import Layout
    from modelscale.training.replica import Replica
    from modelscale.training.session import Goal
    from modelscale.training.stopping import StopRequest
    from modelscale.training.trainer import EpochReport, Outcome


@dataclass(frozen=True)
class Begun:
    """A trial that is to be trained.

    Attributes:
        number: Its number.
        params: Values by spec key.
        part: Its folder.
        replicas: What it trains: one replica, or one for each fold.
        static: What was measured of its network before training.
        rivals: Trials with which it may be compared while it trains.
    """

    number: int
    params: Params
    part: RunPart
    replicas: list[Replica]
    static: dict[str, float]
    rivals: frozenset[int]


@dataclass(frozen=True)
class TrialTrainer:
    """Trains trials of one search.

    Attributes:
        place: Where the search keeps its trials.
        assembly: What is trained.
        section: What is searched, and when a trial is given up.
        aims: What is wanted of a trial.
        goal: What is measured in training.
        ledger: What is known of all trials.
        stop: Looked at after every step.
    """

    place: RunPart
    assembly: Assembly
    section: TuneSection
    aims: Aims
    goal: Goal
    ledger: Ledger
    stop: StopRequest

    def train(self, trials: list[Begun], told: Trials) -> None:
        """Train a cohort, going on from its state on disk.

        Args:
            trials: Of one structure.
            told: Hears how far they are and how they end.

        Raises:
            TryAgain: If a stop was asked for; the state is saved.
        """
        from modelscale.training.session import Session
        from modelscale.training.trainer import EpochReport

        name, folds = cohort_name(trials), self.assembly.folds
        logs = {trial.number: self.opened(trial) for trial in trials}
        session = Session(
            [replica for trial in trials for replica in trial.replicas],
            self.goal,
            self.assembly.device,
            self.place.sub(name).checkpoints(),
            list(logs.values()),
            self.stop,
        )
        indices = {
            trial.number: list(range(k * folds, (k + 1) * folds))
            for k, trial in enumerate(trials)
        }
        try:
            for event in session.run():
                if isinstance(event, EpochReport):
                    living = self.log(event, trials, indices, logs)
                    told.training([t.number for t in living], event.epoch, session.plan.epochs)
                    gone = self.given_up(event, living, indices)
                    session.trainer.stop([i for number in gone for i in indices[number]])
        finally:
            for log in logs.values():
                log.close()
        outcomes = session.trainer.outcomes
        for trial in trials:
            ends = [outcomes[index] for index in indices[trial.number]]
            layout, seconds = session.trainer.cohort.layout, session.seconds / len(trials)
            self.keep(trial, ends, layout, seconds, told)
        self.place.remove(name)

    def opened(self, trial: Begun) -> MetricLog:
        """Open a trial's log at its start, and take up what it has."""
        log = trial.part.metrics()
        log.rewind(0)
        self.ledger.curves[trial.number] = self.ledger.logged(trial.number)
        self.ledger.static[trial.number] = trial.static
        return log

    def log(
        self,
        event: EpochReport,
        trials: list[Begun],
        indices: dict[int, list[int]],
        logs: dict[int, MetricLog],
    ) -> list[Begun]:
        """Keep what an epoch measured; return the trials that it was measured of.

        Args:
            event: The end of an epoch.
            trials: Who is in training.
            indices: The trainer's of each trial's replicas, by its number.
            logs: By trial's number.
        """
        measured = []
        for trial in trials:
            values = _mean(event, indices[trial.number])
            if values is not None:
                moment = event.moments[indices[trial.number][0]]
                when = {"step": moment.step, "epoch": moment.epoch}
                logs[trial.number].append({**when, **values})
                self.ledger.curves[trial.number][moment.epoch] = values
                measured.append(trial)
        return measured

    def given_up(
        self, event: EpochReport, living: list[Begun], indices: dict[int, list[int]]
    ) -> list[int]:
        """Return the numbers of the trials that the early-stopping rule gives up.

        A trial has only earlier ones as rivals, by number, and of those only the ones that it
        may know. So what becomes of it does not depend on how many follow, on how fast other
        processes are, or on when the search was interrupted.
        """
        rule = self.section.early_stop
        if rule is None:
            return []
        epochs, up = self.assembly.experiment.train.epochs, self.aims.maximize[0]
        gone = []
        for trial in living:
            epoch = event.moments[indices[trial.number][0]].epoch
            rivals = {
                number: curve[epoch] | self.ledger.static[number]
                for number, curve in sorted(self.ledger.curves.items())
                if epoch in curve and number <= trial.number and number in trial.rivals
            }
            known = self.ledger.first_curve(trial.number)  # more than was, after a resume
            curve = {e: value for e, value in known.items() if e <= epoch}
            scores = self.aims.scores(rivals)
            if rule.stops(Standing(trial.number, epoch, epochs, scores, curve, up)):
                gone.append(trial.number)
        return gone

    def keep(
        self,
        trial: Begun,
        outcomes: list[Outcome],
        layout: Layout,
        seconds: float,
        told: Trials,
    ) -> None:
        """Write what a trial came to; only then does it count."""
        self._save_model(trial, outcomes, layout)
        record = self._record(trial, outcomes, seconds)
        if self.ledger.finish(trial.part, record):
            told.ended(record)

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

    def _record(self, trial: Begun, outcomes: list[Outcome], seconds: float) -> TrialRecord:
        """Return what a trained trial came to."""
        endings = {outcome.ending for outcome in outcomes}
        ending = next(e for e in ("diverged", "stopped", "complete") if e in endings)
        epoch, values = self._best_epoch(trial, outcomes)
        measured = values | trial.static
        missed = self.aims.missed(measured) if values else ()
        infeasible = ending == "complete" and any(amount > 0 for amount in missed)
        return TrialRecord(
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

    def _best_epoch(
        self, trial: Begun, outcomes: list[Outcome]
    ) -> tuple[int, dict[str, float]]:
        """Return the epoch whose numbers a trial stands for, and the numbers.

        One replica stands for its kept epoch. Folds stand for the best epoch of their mean:
        the mean of each fold's own best would be too good to be true.
        """
        curve, monitor = self.ledger.curves[trial.number], self.goal.monitor
        if len(outcomes) == 1 or not curve:
            progress = outcomes[0].progress
            return progress.best_epoch, dict(progress.best_values)
        name = f"validation/{monitor.label}"
        best = max(curve, key=lambda e: (monitor.score({monitor.label: curve[e][name]}), -e))
        return best, dict(curve[best])


def cohort_name(trials: list[Begun]) -> str:
    """Return the part of a search in which a cohort keeps its state."""
    return f"cohorts/{trials[0].number:04d}"


def _mean(event: EpochReport, indices: list[int]) -> dict[str, float] | None:
    """Return the mean of what an epoch measured over replicas; None if any of them is gone."""
    rows = [event.values[index] for index in indices if index in event.values]
    if len(rows) < len(indices):
        return None
    return {key: math.fsum(row[key] for row in rows) / len(rows) for key in rows[0]}
