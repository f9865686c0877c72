"""Rungs trained in cohorts: those of one size on equally many rows train together."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from modelscale.commands.scale_ladder import Rung, replica_of
from modelscale.commands.scale_results import Outcome, saved
from modelscale.commands.telling import Listener
from modelscale.commands.train import CohortPlan, plan_cohorts
from modelscale.runs.folder import RunFolder
from modelscale.tensors import Part

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.runs.metric_log import MetricLog
    from modelscale.training.layout import Layout
    from modelscale.training.replica import Replica
    from modelscale.training.session import Goal
    from modelscale.training.stopping import StopRequest
    from modelscale.training.trainer import Divergence, EpochReport
    from modelscale.training.trainer import Outcome as Ended

_UNITS = 1000  # of the progress bar: thousandths of the compute


@dataclass
class RungTrainer:
    """Trains the rungs of one run.

    Attributes:
        run: The run.
        assembly: What is trained.
        goal: What is measured and decides.
        stop: Looked at after every step.
        tell: Hears what happens.
        seconds: Training time so far, earlier sessions included.
        divergences: What diverged, one line each.
        out_of_time: Whether the spec's `budget.time_s` is spent.
    """

    run: RunFolder
    assembly: Assembly
    goal: Goal
    stop: StopRequest
    tell: Listener
    seconds: float = 0.0
    divergences: list[str] = field(default_factory=list)
    out_of_time: bool = False

    def train_all(
        self,
        folder: str,
        rungs: Sequence[Rung],
        each: Callable[[list[Outcome]], None] = lambda _outcomes: None,
    ) -> list[Outcome]:
        """Train what has not been trained; return what all came to, in their order.

        Args:
            folder: Where they are kept: each rung is a part of the run with a result of its
                own, which counts once it is there.
            rungs: What is to be trained.
            each: Called with all that have ended, whenever more have.

        Raises:
            TryAgain: If a stop was asked for; the state is saved.
        """
        replicas = [replica_of(self.assembly, rung) for rung in rungs]
        plan = self._plan(folder, replicas)
        found = {k: saved(self.run, folder, rung) for k, rung in enumerate(rungs)}
        ended = {k: outcome for k, outcome in found.items() if outcome is not None}
        self.seconds += math.fsum(outcome.seconds for outcome in ended.values())
        total = math.fsum(rung.compute for rung in rungs) or 1.0
        budget_s = self.assembly.experiment.budget.time_s
        with self.tell.progress(folder, _UNITS) as progress:
            for number, cohort in enumerate(plan.cohorts):
                if all(k in ended for k in cohort):
                    self.run.part.remove(f"cohorts/{folder}-{number:02d}")
                    continue
                if budget_s is not None and self.seconds >= budget_s:
                    self.out_of_time = True
                    break
                done = math.fsum(rungs[k].compute for k in ended) / total
                share = math.fsum(rungs[k].compute for k in cohort) / total

                def told(
                    part: float, text: str, done: float = done, share: float = share
                ) -> None:
                    progress.update(round(_UNITS * (done + share * part)), text)

                mine = [rungs[k] for k in cohort]
                outcomes = self._train(
                    f"{folder}-{number:02d}", folder, mine, [replicas[k] for k in cohort], told
                )
                ended |= dict(zip(cohort, outcomes, strict=True))
                each([ended[k] for k in sorted(ended)])
        each([ended[k] for k in sorted(ended)])
        return [ended[k] for k in sorted(ended)]

    def _plan(self, name: str, replicas: list[Replica]) -> CohortPlan:
        """Return how rungs train; measured once, then kept for exact resumes."""
        from modelscale.training.determinism import use_threads

        path = self.run.path / f"cohorts-{name}.json"
        if path.is_file():
            plan = CohortPlan(**json.loads(path.read_bytes()))
        else:
            plan = plan_cohorts(replicas, self.assembly)
            self.run.write(path.name, json.dumps(asdict(plan)).encode())
        threads = self.assembly.threads or plan.threads
        use_threads(threads)
        self.run.note_threads(threads)
        return plan

    def _train(
        self,
        name: str,
        folder: str,
        rungs: list[Rung],
        replicas: list[Replica],
        told: Callable[[float, str], None],
    ) -> list[Outcome]:
        from modelscale.training.session import Session
        from modelscale.training.trainer import Divergence, EpochReport

        parts = [self.run.sub(f"{folder}/{rung.label}") for rung in rungs]
        logs = [part.metrics() for part in parts]
        for log in logs:
            log.rewind(0)
        session = Session(
            replicas,
            self.goal,
            self.assembly.device,
            self.run.sub(f"cohorts/{name}").checkpoints(),
            logs,
            self.stop,
        )
        for warning in session.warnings:
            self.tell.warn(warning)
        try:
            for event in session.run():
                if isinstance(event, Divergence):
                    self._note(event, rungs)
                elif isinstance(event, EpochReport):
                    _log(event, logs)
                    values = next(iter(event.values.values()))
                    loss = values.get("validation/loss", values["train/loss"])
                    told(
                        event.epoch / session.plan.epochs,
                        f"{rungs[0].label} and {len(rungs) - 1} more  loss {loss:.4g}",
                    )
        finally:
            for log in logs:
                log.close()
        self.seconds += session.seconds
        layout = session.trainer.cohort.layout
        found = []
        for k, (rung, replica) in enumerate(zip(rungs, replicas, strict=True)):
            ended = session.trainer.outcomes[k]
            values = self._keep(f"{folder}/{rung.label}", replica, ended, layout)
            progress = ended.progress
            outcome = Outcome(
                rung,
                ended.ending,
                progress.best_epoch if replica.plan.keep == "best" else ended.epoch,
                ended.step,
                values,
                session.seconds / len(rungs),
            )
            parts[k].write_result(outcome.to_json())
            found.append(outcome)
        self.run.part.remove(f"cohorts/{name}")
        return found

    def _keep(
        self, place: str, replica: Replica, ended: Ended, layout: Layout
    ) -> dict[str, float]:
        """Save a rung's model; return what it measured on the validation and test parts."""
        from modelscale.training.artifact import dump_model, load_model

        if ended.ending != "complete":
            return {}
        progress = ended.progress
        best = replica.plan.keep == "best" and progress.best_epoch > 0
        files = dump_model(replica, ended.weights, layout)
        store = self.run.sub(place).checkpoints()
        step = progress.best_step if best else ended.step
        store.save(step, files)
        store.point("best", step)
        values = dict(progress.best_values if best else progress.last_values)
        values.pop("lr", None)
        if len(replica.data.rows["test"]):
            from modelscale.commands.measuring import predict, targets_of

            part: Part = "test"
            model, rows = load_model(files), replica.data.rows[part].cpu()
            predictions = predict(model, replica.data, rows)
            targets = targets_of(replica.data, rows)
            for metric in self.goal.metrics:
                values[f"test/{metric.label()}"] = float(metric.compute(predictions, targets))
        return values

    def _note(self, event: Divergence, rungs: list[Rung]) -> None:
        for k, loss in event.losses.items():
            message = (
                f"{rungs[k].label}: step {event.step}: the loss or its gradient is not finite "
                f"(loss {loss:g}); the rung is left out. A smaller optimizer.lr or "
                "train.clip_norm may help"
            )
            self.divergences.append(message)
            self.tell.warn(message)


def _log(event: EpochReport, logs: list[MetricLog]) -> None:
    for k, values in event.values.items():
        moment = event.moments[k]
        logs[k].append({"step": moment.step, "epoch": moment.epoch, **values})
