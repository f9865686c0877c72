"""Members from one training: snapshots at the end of each cycle of the learning rate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelscale.commands.ensembling.judging import Built, judged, network_of
from modelscale.ensembling.methods.snapshot import Snapshot
from modelscale.errors import Diverged
from modelscale.optimizers.schedules.cosine_restarts import CosineRestarts

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.commands.ensembling.workshop import Workshop
    from modelscale.training.session import Session
    from modelscale.training.trainer import EpochReport


def check(assembly: Assembly) -> None:
    """Raise SpecError where the epochs do not make whole cycles."""
    section, plan = assembly.experiment.ensemble, assembly.experiment.train
    if isinstance(section, Snapshot):
        if plan.epochs % section.members:
            raise assembly.fault(
                "ensemble.members",
                f"{plan.epochs} epochs are no whole number of epochs for each of "
                f"{section.members} cycles; change train.epochs or ensemble.members",
            )
        if section.skip > section.members - 2:
            raise assembly.fault(
                "ensemble.skip", f"leaves fewer than two of {section.members} snapshots"
            )


def build(shop: Workshop) -> Built:
    """Train once, keep the model at the end of each cycle, and average.

    Raises:
        Diverged: If the training did before the second kept snapshot.
        TryAgain: If a stop was asked for; the state is saved.
    """
    from modelscale.runs.checkpoints import read_checkpoint
    from modelscale.training.artifact import dump_model
    from modelscale.training.ensemble_artifact import MemberFiles

    assembly = shop.assembly
    section = assembly.experiment.ensemble
    assert isinstance(section, Snapshot)
    replica = assembly.replica(0, assembly.experiment.seed)
    plan = replica.plan.model_copy(update={"keep": "last", "early_stopping": None})
    schedule = CosineRestarts(cycles=section.members, warmup=replica.scheduler.warmup)
    replica = replace(replica, plan=plan, scheduler=schedule)
    cycle = plan.epochs // section.members

    def keep(session: Session, event: EpochReport) -> None:
        if event.epoch % cycle == 0 and event.values:
            trainer = session.trainer
            part = shop.run.sub(f"snapshots/{event.epoch // cycle - 1:02d}")
            files = dump_model(replica, trainer.shown().take([0]), trainer.cohort.layout)
            part.checkpoints().save(event.step, files)

    shop.plan("trajectory", [replica])
    with shop.tell.progress("train", plan.epochs) as progress:
        shop.train("trajectory", [replica], ["trajectory"], each=keep, progress=(progress, 0.0))
    members, step = [], 0
    for number in range(section.skip, section.members):
        store = shop.run.sub(f"snapshots/{number:02d}").checkpoints()
        for step in store.steps():
            files = read_checkpoint(store.path(step)).files
            members.append(MemberFiles(f"snapshot-{number:02d}", dict(files)))
    if len(members) < 2:
        raise Diverged(shop.divergences[0] if shop.divergences else "fewer than two snapshots")
    data = replica.data
    network = network_of(members, data.task)
    choice = judged(network, data, data.rows["validation"], assembly, [replica.rows])
    return Built(
        members=tuple(members),
        labels=tuple(member.label for member in members),
        candidates={},
        group=1,
        combined=section.combine(choice.answers),
        origin=choice.origin,
        rows=choice.rows,
        scores=choice.scores(),
        step=step,
    )
