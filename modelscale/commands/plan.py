"""`modelscale plan`: what `train`, `tune` and `scale` would cost, before any of it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelscale.commands.documents import clean
from modelscale.commands.launching import Request, prepare, run_digest
from modelscale.commands.members import members_of
from modelscale.commands.scale_plan import ladder_plan
from modelscale.commands.search_width import MOST_TOGETHER
from modelscale.commands.starting_points import facts_of
from modelscale.commands.telling import Listener
from modelscale.commands.trained_model import shown
from modelscale.errors import ModelscaleError
from modelscale.runs.record import read_record, run_folders
from modelscale.spec.paths import apply
from modelscale.tuning.batching import batches

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.training.grouping import CohortSpeed
    from modelscale.training.replica import Replica
    from modelscale.tuning.section import SearchRange

FLOAT_BYTES = 4
FORWARD_AND_BACKWARD = 3
"""A backward pass costs about two forward passes: by the inputs, and by the weights."""
MEASURE_UP_TO_S = 2.0
_CAUTIOUS_FLOPS_PER_S = 5e9
_LEAST_STEPS = 3
_CHECKPOINTS_AT_ONCE = 3  # the newest two, and one that is being written
_STRUCTURE = (
    "inputs",
    "targets",
    "architecture",
    "loss",
    "optimizer",
    "train plan",
    "augmentation",
    "edits",
    "number of training rows",
    "example weights",
    "validation part",
    "starting point",
)
"""What `training.replica.structure_of` compares, in its order."""


@dataclass(frozen=True)
class Planned:
    """What would be run.

    Attributes:
        document: The command's keys of the JSON document.
    """

    document: dict[str, Any]
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return self.document


@dataclass(frozen=True)
class _Speeds:
    """Which replicas train together, and how fast.

    Attributes:
        groups: Indices of replicas of equal structure.
        cohort: Most replicas trained together; None where only a measurement will say.
        measured: By cohort size, of the first group; empty without a measurement.
    """

    groups: list[list[int]]
    cohort: int | None
    measured: tuple[CohortSpeed, ...]

    def seconds(self, steps: int) -> float | None:
        """Return the time of so many steps of single replicas, trained in such cohorts."""
        if not self.measured or self.cohort is None:
            return None
        fitting = [s for s in self.measured if s.size <= self.cohort]
        nearest = max(fitting, key=lambda s: s.size)
        return nearest.step_s * steps


def plan(request: Request, tell: Listener, *, measure: bool | None) -> Planned:
    """Return what the spec's `train`, and its `tune` if it has such a section, would run.

    Reads the data and builds the network; writes nothing.

    Args:
        request: The spec.
        tell: Hears warnings.
        measure: Whether some steps are timed; None where that takes about two seconds at most.
    """
    assembly = prepare(request, tell)
    document = {
        "data": _data(assembly),
        "device": str(assembly.device),
        "train": _train(request, assembly, measure),
        "tune": _tune(request, assembly, measure),
        "scale": ladder_plan(
            assembly,
            measure=measure,
            run=_earlier_run(request, assembly, "scale") if request.experiment.scale else None,
        ),
        "warnings": list(assembly.loaded.warnings),
    }
    return Planned(dict(clean(document)))


def _data(assembly: Assembly) -> dict[str, Any]:
    raw = assembly.loaded.raw
    folds = assembly.loaded.folds
    return {
        "origin": raw.origin,
        "fingerprint": raw.fingerprint,
        "task": assembly.loaded.task,
        "rows": len(raw),
        "folds": [
            {"train": len(f.train), "validation": len(f.validation), "test": len(f.test)}
            for f in folds
        ],
        "on_disk": assembly.loaded.on_disk,
    }


def _train(request: Request, assembly: Assembly, measure: bool | None) -> dict[str, Any]:
    members = members_of(assembly)
    replicas = [assembly.replica(member.fold, member.seed) for member in members]
    wanted = assembly.experiment.train.cohort
    speeds = _speeds(replicas, assembly, wanted, measure)
    together = speeds.cohort or 1
    steps = sum(replica.total_steps for replica in replicas)
    return {
        "run": _earlier_run(request, assembly, "train", without=("tune",)),
        "members": [member.label for member in members],
        **_costs(replicas[0]),
        "steps": steps,
        "flops": {
            "step": _step_flops(replicas[0]),
            "total": sum(map(_total_flops, replicas)),
        },
        "memory": _memory(replicas[0], together),
        "disk": _disk(replicas[0], together, len(replicas)),
        "cohorts": _cohorts(speeds),
        "groups": _groups(replicas, [member.label for member in members], speeds),
        "seconds": speeds.seconds(steps),
    }


def _tune(request: Request, assembly: Assembly, measure: bool | None) -> dict[str, Any] | None:
    section = assembly.experiment.tune
    if section is None:
        return None
    count, seed = section.n_trials, assembly.experiment.seed
    sample = [assembly.replica(0, seed + k) for k in range(min(count, MOST_TOGETHER))]
    speeds = _speeds(sample, assembly, section.cohort, measure)
    if speeds.cohort:
        widest = max(map(len, batches(count, speeds.cohort, section.sampler)))
        speeds = replace(speeds, cohort=widest)
    together, first = speeds.cohort or 1, sample[0]
    steps = count * first.total_steps
    return {
        "run": _earlier_run(request, assembly, "tune"),
        "trials": count,
        "sampler": section.sampler.own_kind(),
        "early_stop": None if section.early_stop is None else section.early_stop.own_kind(),
        "steps": steps,
        "flops": {"step": _step_flops(first), "total": count * _total_flops(first)},
        "memory": _memory(first, together),
        "disk": _disk(first, together, count),
        "cohorts": _cohorts(speeds),
        "space": {key: _effect(assembly, key, found) for key, found in section.space.items()},
        "seconds": speeds.seconds(steps),
    }


def _costs(replica: Replica) -> dict[str, Any]:
    from modelscale.commands.train import model_facts

    return {
        "epochs": replica.plan.epochs,
        "batch_size": replica.batch_size,
        "steps_per_epoch": replica.steps_per_epoch,
        "steps_per_member": replica.total_steps,
        "model": {"kind": replica.model.own_kind(), **model_facts(replica)},
        **({} if replica.start is None else {"start": facts_of(replica.start)}),
    }


def _macs(replica: Replica) -> int:
    from modelscale.commands.train import model_facts

    return model_facts(replica)["macs"]


def _step_flops(replica: Replica) -> int:
    """Return the operations of one optimizer step: forward, and backward as two forwards."""
    return FORWARD_AND_BACKWARD * 2 * _macs(replica) * min(replica.step_size, len(replica.rows))


def _total_flops(replica: Replica) -> int:
    """Return the operations of all epochs: training, and measuring the validation part."""
    learnt = FORWARD_AND_BACKWARD * len(replica.rows)
    measured = len(replica.data.rows["validation"])
    return 2 * _macs(replica) * (learnt + measured) * replica.plan.epochs


def _memory(replica: Replica, together: int) -> dict[str, int]:
    """Return the bytes that training holds, for a cohort of so many replicas."""
    from modelscale.evaluation.macs import activation_count, parameter_bytes
    from modelscale.training.cohort import build_network

    network = build_network(replica)
    weights = parameter_bytes(network) * together
    data = replica.data
    kept = {
        "weights": weights,
        "gradients": weights,
        "optimizer": weights * len(replica.optimizer.slot_names),
        "best_copy": weights * _keeps_best(replica),
        "average": weights * (replica.plan.ema is not None),
        "activations": FLOAT_BYTES
        * activation_count(network, data.inputs.shape)
        * min(replica.batch_size, len(replica.rows))
        * together,
        "data": FLOAT_BYTES * len(data.y) * (prod(data.inputs.shape) + 1),
    }
    return {**kept, "total": sum(kept.values())}


def _keeps_best(replica: Replica) -> bool:
    return replica.plan.keep == "best" and len(replica.data.rows["validation"]) > 0


def _disk(replica: Replica, together: int, count: int) -> dict[str, int]:
    """Return the bytes of checkpoints: one, at most at a time, and when all is done."""
    from modelscale.evaluation.macs import parameter_bytes
    from modelscale.training.cohort import build_network

    model = parameter_bytes(build_network(replica))
    tensors = 1 + len(replica.optimizer.slot_names) + _keeps_best(replica)
    tensors += replica.plan.ema is not None
    state = model * tensors * together
    checkpoint = state + (model if together == 1 else 0)
    return {
        "checkpoint": checkpoint,
        "peak": checkpoint * _CHECKPOINTS_AT_ONCE + model * count,
        "final": model * (count + 1) + checkpoint,
    }


def _speeds(
    replicas: list[Replica], assembly: Assembly, wanted: int | str, measure: bool | None
) -> _Speeds:
    """Find out which replicas train together, measuring where that is asked for or cheap."""
    from modelscale.training.determinism import use_threads
    from modelscale.training.grouping import best_size, best_threads, groups_of
    from modelscale.training.grouping import measure as measured_speeds

    groups = groups_of(replicas)
    first = [replicas[index] for index in groups[0]]
    if measure is None:
        measure = _measuring_s(first) <= MEASURE_UP_TO_S
    if measure and assembly.threads is None:
        use_threads(best_threads(first[:1], assembly.device))
    speeds = tuple(measured_speeds(first, assembly.device)) if measure else ()
    if isinstance(wanted, int):
        return _Speeds(groups, min(wanted, len(first)), speeds)
    if len(first) == 1:
        return _Speeds(groups, 1, speeds)
    return _Speeds(groups, best_size(speeds) if speeds else None, speeds)


def _measuring_s(replicas: Sequence[Replica]) -> float:
    """Return about how long a measurement of all cohort sizes would take at most."""
    from modelscale.training.grouping import SAMPLE_S, SIZES

    sizes = [1, *[size for size in SIZES if size <= len(replicas)]]
    step_s = _step_flops(replicas[0]) / _CAUTIOUS_FLOPS_PER_S
    return sum(max(SAMPLE_S, _LEAST_STEPS * size * step_s) for size in sizes)


def _cohorts(speeds: _Speeds) -> dict[str, Any]:
    solo = next((s.step_s for s in speeds.measured if s.size == 1), None)
    import torch

    return {
        "size": speeds.cohort,
        "threads": torch.get_num_threads() if speeds.measured else None,
        "measured": [
            asdict(speed) | {"speedup": solo / speed.step_s if solo else None}
            for speed in speeds.measured
        ],
    }


def _groups(
    replicas: list[Replica], labels: list[str], speeds: _Speeds
) -> list[dict[str, Any]]:
    """Return which members could train together, and in what the others are different."""
    first = replicas[speeds.groups[0][0]]
    return [
        {
            "members": [labels[index] for index in group],
            "differs_in": _differences(first, replicas[group[0]]),
        }
        for group in speeds.groups
    ]


def _differences(one: Replica, other: Replica) -> list[str]:
    """Return the names of what keeps two replicas from being trained in lockstep."""
    from modelscale.training.replica import structure_of

    named = zip(_STRUCTURE, structure_of(one), structure_of(other), strict=True)
    return [name for name, ours, theirs in named if ours != theirs]


def _effect(assembly: Assembly, key: str, found: SearchRange) -> dict[str, Any]:
    """Return whether trials that differ in one key of the space can train together."""
    values = _values(found)
    seed = assembly.experiment.seed
    variants: list[Replica] = []
    for value in values:
        try:
            variant = apply(assembly.experiment, {key: value})
            variants.append(assembly.replica(0, seed, variant))
        except (ValidationError, ModelscaleError):
            continue  # such a trial fails, and the search goes on
    reasons = {name for v in variants for name in _differences(variants[0], v)}
    return {
        "values": len(values) if found.choices is not None else None,
        "together": not reasons,
        "differs_in": [name for name in _STRUCTURE if name in reasons],
    }


def _values(found: SearchRange) -> list[Any]:
    """Return the choices, or two values inside the bounds: the bounds may be special."""
    if found.choices is not None:
        return list(found.choices)
    low, high = found.low, found.high
    assert low is not None
    assert high is not None
    inner = [low + (high - low) * share for share in (0.3, 0.7)]
    if isinstance(low, int) and isinstance(high, int):
        return [round(value) for value in inner]
    return inner


def _earlier_run(
    request: Request, assembly: Assembly, verb: str, without: tuple[str, ...] = ()
) -> dict[str, str] | None:
    """Return the run that the command would report or go on with; None for a new one."""
    name = request.experiment.name or request.stem
    digest = run_digest(
        replace(request, verb=verb), assembly.loaded.raw.fingerprint, without=without
    )
    for path in reversed(run_folders(request.root / name)):
        try:
            record = read_record(path)
        except ModelscaleError:
            continue
        if record.digest == digest:
            return {"path": shown(path.absolute()), "status": record.status}
    return None
