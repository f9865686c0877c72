"""Models that begin with a checkpoint's weights: finding, reading and fitting them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.commands.published_weights import published
from modelscale.data.weights import WEIGHTS
from modelscale.errors import InputMissing, SpecError
from modelscale.models._from_checkpoint import FromCheckpoint
from modelscale.spec.base import Spec
from modelscale.spec.paths import plain

if TYPE_CHECKING:
    from modelscale.commands.experiment import Experiment
    from modelscale.data.adopting import Adoption
    from modelscale.data.prepared import Prepared
    from modelscale.losses.base import LossSpec
    from modelscale.models.base import ModelSpec
    from modelscale.runs.checkpoints import Checkpoint
    from modelscale.training.artifact import Model
    from modelscale.training.starting import Start

_FROM = "from"
_SECTIONS = ("model", "tune", "ensemble", "scale")
"""Where a model may stand, or be one of several choices."""


@dataclass(frozen=True)
class StartingPoint:
    """A checkpoint that a model begins with.

    Attributes:
        model: What it holds, on the CPU.
        sha256: Names its content.
        path: Its folder.
    """

    model: Model
    sha256: str
    path: Path


def found(path: Path, root: Path) -> Checkpoint:
    """Return the checkpoint that `model.from` means, here or else in the runs folder.

    A name that neither has may be one of published weights.

    Raises:
        InputMissing: If there is none.
        DataError: If it is damaged.
    """
    from modelscale.runs.checkpoints import read_checkpoint
    from modelscale.runs.find import find_checkpoint

    try:
        place = find_checkpoint(path)
    except InputMissing as error:
        if not path.is_absolute() and (root / path).exists():
            place = find_checkpoint(root / path)
        elif str(path) in WEIGHTS:
            place = published(str(path))
        else:
            raise InputMissing(f"model.from: {error}") from None
    return read_checkpoint(place)


def read_starting_point(wanted: FromCheckpoint, root: Path) -> StartingPoint:
    """Return the checkpoint that a model begins with.

    Raises:
        InputMissing: If there is none, or one without a model.
        DataError: If it is damaged.
        SpecError: If it is an ensemble.
    """
    from modelscale.training.artifact import FACTS, load_model
    from modelscale.training.ensemble_artifact import is_ensemble

    checkpoint = found(wanted.source, root)
    if FACTS not in checkpoint.files:
        raise InputMissing(f"model.from: {checkpoint.path}: holds no model; finish its run")
    if is_ensemble(checkpoint.files):
        raise SpecError(
            f"model.from: {wanted.source}: is an ensemble; begin with the model that "
            "`modelscale ensemble --distill` makes of it"
        )
    return StartingPoint(load_model(checkpoint.files), checkpoint.sha256, checkpoint.path)


def contents_of(spec: Spec, root: Path) -> list[str]:
    """Return the sha256 of each checkpoint that a spec's models begin with.

    They are part of what makes a run the run that it is: another content, another run.
    """
    return [found(path, root).sha256 for path in sources_of(spec)]


def sources_of(spec: Spec) -> list[Path]:
    """Return the checkpoints that a spec's models begin with, as they were given."""
    whole = plain(spec)
    names = _sources([whole.get(section) for section in _SECTIONS])
    return [Path(name) for name in dict.fromkeys(names)]


def check_name(spec: Spec, name: str, root: Path) -> None:
    """Refuse to begin with the newest run of the very name that this run is to have.

    The same command again would find itself there, and begin another run with that.

    Raises:
        SpecError: If a checkpoint is meant by the run's own name.
    """
    own = (root / name).resolve()
    for path in sources_of(spec):
        if own in {path.resolve(), (root / path).resolve()} and own.is_dir():
            raise SpecError(
                f"model.from: {path}: this run would have the same name and take its place; "
                "give another --name, or the whole path of the run to begin with"
            )


def adoption_of(wanted: FromCheckpoint, point: StartingPoint) -> Adoption:
    """Return what the data takes over from the checkpoint."""
    from modelscale.data.adopting import Adoption

    return Adoption(point.model.preprocessing, wanted.scaling == "own", wanted.length)


def begun_model(wanted: FromCheckpoint, point: StartingPoint) -> ModelSpec:
    """Return the architecture that is trained: the checkpoint's, with another dropout rate.

    Raises:
        ValueError: If it has no dropout.
    """
    spec = point.model.spec
    if wanted.dropout is None:
        return spec
    if not getattr(spec, "dropout", 0.0):
        raise ValueError(f"{spec.own_kind()} of {wanted.source} has no dropout to change")
    return spec.model_copy(update={"dropout": wanted.dropout})


def begin(
    wanted: FromCheckpoint, point: StartingPoint, data: Prepared, loss: LossSpec
) -> tuple[ModelSpec, Start]:
    """Return the architecture and the weights that a replica begins with.

    Raises:
        ValueError: If the checkpoint does not fit the data; says what differs.
    """
    from modelscale.data.adopting import same_target
    from modelscale.training.starting import Pace, Target, Wanted, start_of

    model = begun_model(wanted, point)
    target = Target(model, point.model.edits, loss, data.inputs, loss.outputs(data.targets))
    same = same_target(data.preprocessing, point.model.preprocessing)
    same = same and target.outputs == point.model.loss.outputs(point.model.targets)
    how = Wanted(
        freeze=wanted.freeze,
        keeps_head=wanted.head == "auto" and same,
        pace=Pace(wanted.layer_decay, wanted.unfreeze),
    )
    return model, start_of(point.model.network, point.sha256, target, how)


def seen_before(
    wanted: FromCheckpoint, point: StartingPoint, experiment: Experiment, fingerprint: str
) -> str | None:
    """Return the warning that a checkpoint may have learnt the answers to the test rows.

    None where it saw other data, no answers, or the same training rows as now.
    """
    from modelscale.commands.trained_model import spec_of

    model = point.model
    if model.fingerprint != fingerprint or model.task == "pretraining":
        return None
    earlier = spec_of(point.path)
    if earlier is not None and earlier.data.split == experiment.data.split:
        return None
    return (
        f"model.from: {wanted.source} has learnt from these very data, perhaps from rows that "
        "are now held out; a data.split as it had then keeps them apart"
    )


def facts_of(start: Start) -> dict[str, Any]:
    """Return what a document says of the weights that a model began with."""
    return {
        "sha256": start.sha256,
        "layers": len(start.layers),
        "taken_over": sum(tensor.numel() for tensor in start.tensors.values()),
        "frozen": sum(start.tensors[name].numel() for name in start.frozen),
        "fresh": sorted(start.fresh),
    }


def _sources(data: Any) -> Iterator[str]:
    """Yield the checkpoints that plain data name, wherever a model may stand."""
    if isinstance(data, dict):
        if isinstance(data.get(_FROM), str):
            yield data[_FROM]
        for value in data.values():
            yield from _sources(value)
    elif isinstance(data, (list, tuple)):
        for item in data:
            yield from _sources(item)
