"""The winner of a search, trained again from fresh seeds: what it is worth apart from luck."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.commands.experiment import Experiment
from modelscale.runs.folder import RunFolder
from modelscale.seeds import derive
from modelscale.tensors import Part

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.commands.measuring import Measured
    from modelscale.training.session import Goal
    from modelscale.training.stopping import StopRequest

PART = "winner"


@dataclass(frozen=True)
class Retrained:
    """The winner's setting, trained from one more seed.

    Attributes:
        seed: Of everything random.
        files: Of its model.
        step: Step of its weights.
        parts: What it is worth, by part.
    """

    seed: int
    files: Mapping[str, bytes]
    step: int
    parts: dict[Part, Measured]


def retrain(
    run: RunFolder,
    assembly: Assembly,
    variant: Experiment,
    seeds: list[int],
    goal: Goal,
    stop: StopRequest,
) -> list[Retrained]:
    """Train a variant of the experiment from some seeds, as one cohort.

    Returns:
        Those that did not diverge.

    Raises:
        TryAgain: If a stop was asked for; the state is saved.
    """
    from modelscale.commands.measuring import measure
    from modelscale.training.artifact import dump_model, load_model
    from modelscale.training.session import Session
    from modelscale.training.trainer import EpochReport

    if not seeds:
        return []
    part = run.sub(PART)
    log = part.metrics()
    log.rewind(0)
    replicas = [assembly.replica(0, seed, variant) for seed in seeds]
    session = Session(replicas, goal, assembly.device, part.checkpoints(), (log,), stop)
    try:
        for event in session.run():
            if isinstance(event, EpochReport):
                for k, values in event.values.items():
                    member = {"step": event.step, "epoch": event.epoch, "seed": seeds[k]}
                    log.append(member | values)
    finally:
        log.close()
    found = []
    for k, replica in enumerate(replicas):
        outcome = session.trainer.outcomes[k]
        if outcome.ending == "diverged":
            continue
        files = dump_model(replica, outcome.weights, session.trainer.cohort.layout)
        model = load_model(files)
        names: tuple[Part, ...] = ("validation", "test")
        parts = {
            name: measure(model, replica.data, name, assembly.goal.metrics, variant.evaluate)
            for name in names
            if len(replica.data.rows[name])
        }
        step = outcome.progress.best_step or outcome.step
        found.append(Retrained(seeds[k], files, step, parts))
    return found


def fresh_seeds(assembly: Assembly, count: int) -> list[int]:
    """Return seeds that no trial of the search had."""
    base = assembly.experiment.seed
    return [derive(base, "confirm", k) % 2**31 for k in range(count)]
