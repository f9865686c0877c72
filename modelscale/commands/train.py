"""`modelscale train`: one model, or the same one from several seeds and folds at once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.commands.documents import clean
from modelscale.commands.launching import Request, opened, prepare, run_digest
from modelscale.commands.members import Member, MemberResult, keep, members_of
from modelscale.commands.still_learning import curves, still_learning
from modelscale.commands.telling import Listener, Progress
from modelscale.errors import Diverged
from modelscale.runs.folder import RunFolder
from modelscale.runs.part import METRICS
from modelscale.tensors import Part

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.runs.metric_log import MetricLog, TimingLog
    from modelscale.training.replica import Replica
    from modelscale.training.session import Session
    from modelscale.training.stopping import StopRequest
    from modelscale.training.trainer import Divergence, EpochReport, Outcome

PLAN = "cohorts.json"
_SOME_FAILED = 4


@dataclass(frozen=True)
class Trained:
    """A finished training run.

    Attributes:
        run: Its folder.
        document: The command's keys of the JSON document, as `run.json` keeps them.
    """

    run: Path
    document: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """4 where some members diverged and others did not."""
        endings = [member["ending"] for member in self.document["members"]]
        return _SOME_FAILED if "diverged" in endings else 0

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return {"run": str(self.run), "status": "done", **self.document}


def train(request: Request, tell: Listener) -> Trained:
    """Train what the spec says, or go on with it, or report what it came to.

    Raises:
        Diverged: If no member has a finite loss.
        TryAgain: If the run was interrupted; its state is saved.
    """
    assembly = prepare(request, tell)
    assembly.replica(0, assembly.experiment.seed)  # a model that takes no such data: no run
    digest = run_digest(request, assembly.loaded.raw.fingerprint, without=("tune",))
    with opened(request, assembly, digest, tell) as (run, stop):
        if run.finished:
            return _reported(run)
        document = _Training(run, assembly, stop, tell).run_all()
        run.finish("done", document)
        return Trained(run.path, document)


def _reported(run: RunFolder) -> Trained:
    if run.record.status == "diverged":
        raise Diverged(f"{run.path}: {run.record.result.get('error', 'diverged')}")
    return Trained(run.path, run.record.result)


class _Training:
    """One training run on its way."""

    def __init__(
        self, run: RunFolder, assembly: Assembly, stop: StopRequest, tell: Listener
    ) -> None:
        self.run, self.assembly, self.stop, self.tell = run, assembly, stop, tell
        self.members = members_of(assembly)
        self.replicas = [assembly.replica(m.fold, m.seed) for m in self.members]
        self.seconds = 0.0
        self.divergences: list[str] = []

    @property
    def alone(self) -> bool:
        """Whether the run has one member, whose checkpoints are the run's own."""
        return len(self.members) == 1

    def run_all(self) -> dict[str, Any]:
        """Train and measure every member; return the run's document."""
        from modelscale.training.determinism import use_threads

        outcomes: dict[int, Outcome] = {}
        log, timings = self.run.metrics(), self.run.timings()
        log.rewind(0)
        plan = self._plan()
        threads = self.assembly.threads or plan.threads
        use_threads(threads)
        self.run.note_threads(threads)
        cohorts = plan.cohorts
        epochs = self.assembly.experiment.train.epochs
        try:
            with self.tell.progress("train", epochs * len(cohorts)) as progress:
                for number, cohort in enumerate(cohorts):
                    outcomes |= self._train(number, cohort, (log, timings), progress)
        finally:
            log.close()
            timings.close()
        if all(outcome.ending == "diverged" for outcome in outcomes.values()):
            raise Diverged(self.divergences[0] if self.divergences else "diverged")
        results = {
            index: keep(
                self.run.part if self.alone else self.run.sub(f"members/{member.label}"),
                member,
                self.replicas[index],
                outcomes[index],
                self.assembly,
            )
            for index, member in enumerate(self.members)
            if outcomes[index].ending != "diverged"
        }
        return self._document(outcomes, results, self._advice())

    def _advice(self) -> list[str]:
        """Return, and tell, what the curves say of the plan."""
        path = self.run.path / METRICS
        lines = path.read_bytes().splitlines() if path.is_file() else []
        told = still_learning(curves(lines), self.assembly.experiment.train.epochs)
        if told is None:
            return []
        self.tell.warn(told)
        return [told]

    def _plan(self) -> CohortPlan:
        """Return how members train; measured once, then kept for exact resumes."""
        path = self.run.path / PLAN
        if path.is_file():
            return CohortPlan(**json.loads(path.read_bytes()))
        plan = plan_cohorts(self.replicas, self.assembly)
        self.run.write(PLAN, json.dumps(asdict(plan)).encode())
        return plan

    def _train(
        self,
        number: int,
        cohort: list[int],
        logs: tuple[MetricLog, TimingLog],
        progress: Progress,
    ) -> dict[int, Outcome]:
        from modelscale.training.session import Session
        from modelscale.training.trainer import Divergence, EpochReport

        part = self.run.part if self.alone else self.run.sub(f"cohorts/{number:02d}")
        session = Session(
            [self.replicas[index] for index in cohort],
            self.assembly.goal,
            self.assembly.device,
            part.checkpoints(),
            (logs[0],),
            self.stop,
        )
        for warning in session.warnings:
            self.tell.warn(warning)
        budget_s = self.assembly.experiment.budget.time_s
        done = number * self.assembly.experiment.train.epochs
        for event in session.run():
            if isinstance(event, Divergence):
                self._note_divergence(event, cohort, session)
            elif isinstance(event, EpochReport):
                self._log(event, cohort, logs, session)
                progress.update(done + event.epoch, self._summary(event))
                if budget_s is not None and self.seconds + session.seconds >= budget_s:
                    session.trainer.stop(list(event.values))
        self.seconds += session.seconds
        self.divergences += session.notes
        return {cohort[k]: outcome for k, outcome in session.trainer.outcomes.items()}

    def _log(
        self,
        event: EpochReport,
        cohort: list[int],
        logs: tuple[MetricLog, TimingLog],
        session: Session,
    ) -> None:
        for k, values in event.values.items():
            member = {} if self.alone else {"member": self.members[cohort[k]].label}
            logs[0].append({"step": event.step, "epoch": event.epoch, **member, **values})
        logs[1].append({"step": event.step, "seconds": round(session.seconds, 3)})

    def _summary(self, event: EpochReport) -> str:
        values = next(iter(event.values.values()), {})
        shown = [name for name in values if name != "lr"][:3]
        return "  ".join(f"{name} {values[name]:.4g}" for name in shown)

    def _note_divergence(self, event: Divergence, cohort: list[int], session: Session) -> None:
        for k, rows in event.rows.items():
            label = self.members[cohort[k]].label
            some = ", ".join(map(str, rows[:8])) + (", …" if len(rows) > 8 else "")
            message = (
                f"{label}: step {event.step}: the loss or its gradient is not finite "
                f"(loss {event.losses[k]:g}); nothing was updated with it. Rows of the batch: "
                f"{some}. A smaller optimizer.lr or train.clip_norm may help"
            )
            session.notes.append(message)
            self.tell.warn(message)

    def _document(
        self,
        outcomes: dict[int, Outcome],
        results: dict[int, MemberResult],
        advice: list[str],
    ) -> dict[str, Any]:
        best = max(results, key=lambda index: (results[index].score, -index))
        if not self.alone:
            self._copy_best(results[best].member)
        document = {
            "metrics": summarised(list(results.values())),
            "baseline": {
                part: measured.baseline for part, measured in results[best].parts.items()
            },
            "model": model_facts(self.replicas[best]),
            **_start_facts(self.replicas[best]),
            "seconds": round(self.seconds, 3),
            "best_member": results[best].member.label,
            "members": [
                results[i].to_json() if i in results else _lost(member, outcomes[i])
                for i, member in enumerate(self.members)
            ],
            "warnings": [*self.assembly.loaded.warnings, *self.divergences, *advice],
        }
        return dict(clean(document))

    def _copy_best(self, member: Member) -> None:
        """Make the best member's model the run's own best checkpoint."""
        source = self.run.sub(f"members/{member.label}").checkpoints()
        step = source.pointed("best")
        assert step is not None
        from modelscale.runs.checkpoints import read_checkpoint

        store = self.run.checkpoints()
        store.save(step, dict(read_checkpoint(source.path(step)).files))
        store.point("best", step)
        store.prune(keep={step}, newest=1)


@dataclass(frozen=True)
class CohortPlan:
    """How replicas train.

    Attributes:
        cohorts: Indices of the replicas of each cohort.
        threads: CPU threads, where the user does not say.
    """

    cohorts: list[list[int]]
    threads: int


def plan_cohorts(
    replicas: list[Replica], assembly: Assembly, *, mix_widths: bool = False
) -> CohortPlan:
    """Return which replicas train together, measured where the spec leaves it open.

    Args:
        replicas: To be trained.
        assembly: Of the command.
        mix_widths: Whether networks that differ in widths may share a stack.
    """
    from modelscale.training.determinism import use_threads
    from modelscale.training.grouping import (
        arranged,
        best_threads,
        divide,
        families_of,
        groups_of,
    )

    # Threads first, on one replica: sizes are to be timed as they will run.
    threads = assembly.threads or best_threads(replicas[:1], assembly.device)
    use_threads(threads)
    wanted = assembly.experiment.train.cohort
    families = (
        families_of(replicas) if mix_widths else [[group] for group in groups_of(replicas)]
    )
    if wanted == "auto":
        return CohortPlan(arranged(replicas, families, assembly.device), threads)
    everyone = [[index for group in family for index in group] for family in families]
    return CohortPlan([c for family in everyone for c in divide(family, wanted)], threads)


def model_facts(replica: Replica) -> dict[str, int]:
    """Return size and cost of a replica's network: parameters, MACs an example, bytes."""
    from modelscale.evaluation.macs import count_macs, parameter_bytes, parameter_count
    from modelscale.training.cohort import build_network

    network = build_network(replica)
    return {
        "parameters": parameter_count(network),
        "macs": count_macs(network, replica.data.inputs.shape),
        "bytes": parameter_bytes(network),
    }


def _start_facts(replica: Replica) -> dict[str, Any]:
    """Return what the document says of the checkpoint that a model began with, if any."""
    from modelscale.commands.starting_points import facts_of

    return {} if replica.start is None else {"start": facts_of(replica.start)}


def summarised(results: list[MemberResult]) -> dict[Part, dict[str, Any]]:
    """Return each metric of each part with its interval.

    One member: over its examples. Several: their mean, with Student's t over members.
    """
    from modelscale.commands.measuring import spread

    if len(results) > 1:
        return spread([result.parts for result in results])
    return {
        part: measured.evaluation.to_json()["metrics"]
        for part, measured in results[0].parts.items()
    }


def _lost(member: Member, outcome: Outcome) -> dict[str, Any]:
    return {
        "label": member.label,
        "fold": member.fold,
        "seed": member.seed,
        "ending": outcome.ending,
        "step": outcome.step,
    }
