"""Where an ensemble's members are trained: stage after stage, each in cohorts that resume."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from modelscale.commands.telling import Listener, Progress
from modelscale.commands.train import CohortPlan, plan_cohorts
from modelscale.errors import Diverged
from modelscale.runs.folder import RunFolder

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.training.replica import Replica
    from modelscale.training.session import Goal, Session
    from modelscale.training.stopping import StopRequest
    from modelscale.training.trainer import Divergence, EpochReport, Outcome

Begin = Callable[["Session"], None]
"""Called once, before a cohort's first step."""
Each = Callable[["Session", "EpochReport"], None]
"""Called after every epoch, before anything of it is saved."""


class Workshop:
    """Trains replicas of a run.

    Attributes:
        run: The run.
        assembly: What is trained.
        seconds: Training time so far, earlier sessions included.
        divergences: What diverged, one line each.
    """

    def __init__(
        self, run: RunFolder, assembly: Assembly, stop: StopRequest, tell: Listener
    ) -> None:
        self.run, self.assembly, self.stop, self.tell = run, assembly, stop, tell
        self.seconds = 0.0
        self.divergences: list[str] = []
        self._log, self._timings = run.metrics(), run.timings()
        self._log.rewind(0)

    def close(self) -> None:
        """Close the logs; again is fine."""
        self._log.close()
        self._timings.close()

    def plan(self, name: str, replicas: list[Replica]) -> CohortPlan:
        """Return how replicas train; measured once, then kept for exact resumes."""
        from modelscale.training.determinism import use_threads

        path = self.run.path / f"cohorts-{name}.json"
        if path.is_file():
            plan = CohortPlan(**json.loads(path.read_bytes()))
        else:
            plan = plan_cohorts(replicas, self.assembly, mix_widths=True)
            self.run.write(path.name, json.dumps(asdict(plan)).encode())
        threads = self.assembly.threads or plan.threads
        use_threads(threads)
        self.run.note_threads(threads)
        return plan

    def train_all(
        self,
        stage: str,
        replicas: list[Replica],
        labels: Sequence[str],
        *,
        begin: Begin | None = None,
    ) -> list[Outcome]:
        """Train replicas in the cohorts that are fastest here; return how each ended.

        Raises:
            Diverged: If all did.
            TryAgain: If a stop was asked for; the state is saved.
        """
        plan = self.plan(stage, replicas)
        outcomes: dict[int, Outcome] = {}
        epochs = sum(replicas[cohort[0]].plan.epochs for cohort in plan.cohorts)
        done = 0
        with self.tell.progress("train", epochs) as progress:
            for number, cohort in enumerate(plan.cohorts):
                found = self.train(
                    f"{stage}-{number:02d}",
                    [replicas[k] for k in cohort],
                    [labels[k] for k in cohort],
                    begin=begin,
                    progress=(progress, done),
                )
                outcomes |= dict(zip(cohort, found, strict=True))
                done += replicas[cohort[0]].plan.epochs
        ended = [outcomes[k] for k in range(len(replicas))]
        if all(outcome.ending == "diverged" for outcome in ended):
            raise Diverged(self.divergences[0] if self.divergences else "diverged")
        return ended

    def train(
        self,
        name: str,
        replicas: list[Replica],
        labels: Sequence[str],
        *,
        goal: Goal | None = None,
        begin: Begin | None = None,
        each: Each | None = None,
        progress: tuple[Progress, float] | None = None,
    ) -> list[Outcome]:
        """Train one cohort; return how each replica ended.

        Args:
            name: Of the folder with its state.
            replicas: Of one structure.
            labels: Their names in the metric log.
            goal: What is measured and decides; the run's own by default.
            begin: May give the replicas other weights.
            each: Sees every epoch.
            progress: What is told of it, and how much was done before.

        Raises:
            TryAgain: If a stop was asked for; the state is saved.
        """
        from modelscale.training.session import Session
        from modelscale.training.trainer import Divergence, EpochReport

        session = Session(
            replicas,
            goal or self.assembly.goal,
            self.assembly.device,
            self.run.sub(f"cohorts/{name}").checkpoints(),
            (self._log,),
            self.stop,
        )
        for warning in session.warnings:
            self.tell.warn(warning)
        if begin is not None and session.resumed_at is None:
            begin(session)
        budget_s = self.assembly.experiment.budget.time_s
        for event in session.run():
            if isinstance(event, Divergence):
                self._note(event, labels, session)
            elif isinstance(event, EpochReport):
                self._keep(event, name, labels, session)
                if each is not None:
                    each(session, event)
                if progress is not None:
                    progress[0].update(progress[1] + event.epoch, _summary(event))
                if budget_s is not None and self.seconds + session.seconds >= budget_s:
                    session.trainer.stop(list(event.values))
        self.seconds += session.seconds
        self.divergences += session.notes
        return [session.trainer.outcomes[k] for k in range(len(replicas))]

    def _keep(
        self, event: EpochReport, name: str, labels: Sequence[str], session: Session
    ) -> None:
        for k, values in event.values.items():
            place = {"step": event.step, "epoch": event.epoch, "member": labels[k]}
            self._log.append(place | values)
        seconds = round(session.seconds, 3)
        self._timings.append({"stage": name, "step": event.step, "seconds": seconds})

    def _note(self, event: Divergence, labels: Sequence[str], session: Session) -> None:
        for k, loss in event.losses.items():
            message = (
                f"{labels[k]}: step {event.step}: the loss or its gradient is not finite "
                f"(loss {loss:g}); the member is left out. A smaller optimizer.lr or "
                "train.clip_norm may help"
            )
            session.notes.append(message)
            self.tell.warn(message)


def _summary(event: EpochReport) -> str:
    values = next(iter(event.values.values()), {})
    shown = [name for name in values if name != "lr"][:3]
    return "  ".join(f"{name} {values[name]:.4g}" for name in shown)
