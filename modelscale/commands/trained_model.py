"""A trained model as the command line names it: its checkpoint, its run, its answers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.commands.experiment import Experiment
from modelscale.commands.telling import Listener
from modelscale.errors import DataError, InputMissing, UsageError
from modelscale.runs.checkpoints import Checkpoint, read_checkpoint
from modelscale.runs.find import find_checkpoint
from modelscale.runs.folder import RESOLVED_FILE
from modelscale.runs.record import FINISHED, RUN_FILE, RunRecord, read_model, read_record
from modelscale.runs.trials import TRIAL_FILE, TRIALS, TrialRecord
from modelscale.spec.loader import load
from modelscale.spec.paths import apply

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from modelscale.data.prepared import Examples
    from modelscale.data.raw import Raw
    from modelscale.data.sources.base import SourceSpec
    from modelscale.training.artifact import Model

VALUES_AT_ONCE = 4_000_000
_FOLD = re.compile(r"fold-(\d+)")


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, and the run that it stands in, if any.

    Attributes:
        checkpoint: Where it was read from; every file was found to be whole.
        model: On `device`.
        device: Where it answers.
        run: The run's folder; None for a checkpoint that was copied out of its run.
        experiment: What the run was asked for, with the values of the model's own trial.
        fold: Round of cross-validation whose training part the model has seen.
    """

    checkpoint: Checkpoint
    model: Model
    device: torch.device
    run: Path | None
    experiment: Experiment | None
    fold: int

    def facts(self) -> dict[str, Any]:
        """Return the keys of a JSON document that say which model it is about."""
        return {
            "run": None if self.run is None else shown(self.run),
            "checkpoint": shown(self.checkpoint.path),
            "step": self.checkpoint.step,
            "task": self.model.task,
        }


def open_model(
    path: Path, root: Path, device: str, threads: int | None, tell: Listener
) -> TrainedModel:
    """Return the trained model that a path means.

    Args:
        path: A checkpoint, run, trial or study folder, or a run's name; also below `root`.
        root: The runs folder.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        threads: CPU threads; None for torch's own choice.
        tell: Hears that a run is not finished.

    Raises:
        InputMissing: If there is no checkpoint.
        DataError: If it is damaged.
        Unavailable: If the device is not there.
    """
    from modelscale.training.determinism import choose_device, use_threads
    from modelscale.training.ensemble_artifact import load_predictor

    if threads is not None:
        use_threads(threads)
    chosen = choose_device(device)
    checkpoint = read_checkpoint(_found(path, root))
    if "model.json" not in checkpoint.files:
        raise InputMissing(
            f"{checkpoint.path}: holds the state of a training that is not finished, but no "
            "model; run the same command again to finish it"
        )
    model = load_predictor(checkpoint.files)
    model.network.to(chosen)
    run = _run_of(checkpoint.path)
    if run is None:
        return TrainedModel(checkpoint, model, chosen, None, None, 0)
    record = read_record(run)
    if record.status not in FINISHED:
        tell.warn(f"{shown(run)}: is not finished; this is its model at step {checkpoint.step}")
    part = checkpoint.path.relative_to(run).parts
    experiment = load(run / RESOLVED_FILE, Experiment).spec
    params = _trial_params(run, record, part)
    if params:
        experiment = apply(experiment, params)
    return TrainedModel(checkpoint, model, chosen, run, experiment, _fold_of(record, part))


def with_beam(trained: TrainedModel, beam: int | None) -> TrainedModel:
    """Return a model that follows so many beginnings when it writes; None leaves it alone.

    Raises:
        UsageError: If the model writes nothing.
    """
    from modelscale.training.artifact import Model

    if beam is None:
        return trained
    model = trained.model
    if not isinstance(model, Model) or "beam" not in type(model.loss).model_fields:
        raise UsageError(f"--beam: the model writes no texts (its task is {model.task})")
    loss = model.loss.model_copy(update={"beam": beam})
    return replace(trained, model=replace(model, loss=loss))


def _found(path: Path, root: Path) -> Path:
    """Return the checkpoint that a path means, here or else in the runs folder."""
    try:
        return find_checkpoint(path)
    except InputMissing:
        if path.is_absolute() or not (root / path).exists():
            raise
        return find_checkpoint(root / path)  # where a folder of data has a run's name, say


def _run_of(checkpoint: Path) -> Path | None:
    """Return the run whose checkpoint this is: its own, or that of a member or trial."""
    for above in (checkpoint.parent.parent, checkpoint.parent.parent.parent.parent):
        if os.path.lexists(above / RUN_FILE) and os.path.lexists(above / RESOLVED_FILE):
            return above
    return None


def spec_of(checkpoint: Path) -> Experiment | None:
    """Return what the run of a checkpoint was asked for; None where it stands in none."""
    run = _run_of(checkpoint)
    return None if run is None else load(run / RESOLVED_FILE, Experiment).spec


def _trial_params(run: Path, record: RunRecord, part: tuple[str, ...]) -> dict[str, Any]:
    """Return what a search set in the spec for this model."""
    if part[0] == TRIALS:
        return read_model(TrialRecord, run / TRIALS / part[1] / TRIAL_FILE).params
    best = record.result.get("best")
    return dict(best.get("params", {})) if isinstance(best, dict) else {}


def _fold_of(record: RunRecord, part: tuple[str, ...]) -> int:
    label = part[1] if part[0] == "members" else record.result.get("best_member", "")
    found = _FOLD.match(str(label))
    return int(found.group(1)) if found else 0


def shown(path: Path) -> str:
    """Return a path as a user would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def read_named(what: str, trained: TrainedModel, *, with_target: bool) -> Raw:
    """Return the examples of a file, a folder, or a data set of the catalogue.

    Args:
        what: A path, or a name of the catalogue.
        trained: The model that is to see them; its run says how such a file is read.
        with_target: Whether they are to be measured on.

    Raises:
        DataError: If the file is damaged, or is not what the model takes.
        InputMissing: If there is none.
    """
    from modelscale.data.archives import DATA_SETS
    from modelscale.data.opening import read_new, source_of
    from modelscale.data.sources.base import SourceSpec

    path, preprocessing = Path(what), trained.model.preprocessing
    series, audio = preprocessing.form == "series", preprocessing.form == "audio"
    takes_folders = (len(preprocessing.shape) == 3 and not series) or audio
    if path.is_dir() and not takes_folders and not preprocessing.texts and not series:
        raise DataError(
            f"{path}: is a folder, and the model takes no images, texts or recordings"
        )
    if not path.exists() and what in DATA_SETS:
        raw = SourceSpec.model_validate(what).read()
    else:
        like = None if trained.experiment is None else trained.experiment.data.source
        spill = None if series or audio else _spill_of(source_of(path, like))
        raw = read_new(path, preprocessing, like, with_target=with_target, spill=spill)
    if len(raw) == 0:
        raise DataError(f"{raw.origin}: no rows")
    if (raw.series is None) == series:
        wanted = "series" if series else "no series"
        raise DataError(f"{raw.origin}: is not what the model takes, {wanted}")
    if not series and (raw.array is None) != (preprocessing.form == "table"):
        wanted = "a table" if raw.array is not None else f"arrays of {preprocessing.shape}"
        raise DataError(f"{raw.origin}: is not what the model takes, {wanted}")
    if with_target and raw.target is None:
        raise DataError(f"{raw.origin}: has no target to measure against")
    return raw


def _spill_of(source: SourceSpec) -> Path | None:
    """Return where columns go that are too large for memory; None where they are not."""
    from modelscale.data.section import DataSection
    from modelscale.data.storage import goes_to_disk, spill_folder

    return spill_folder() if goes_to_disk(DataSection(source=source)) else None


def answers(trained: TrainedModel, x: Examples, rows: Tensor) -> Tensor:
    """Return the answers for some rows of prepared examples, on the CPU.

    In the pieces in which training measures, so that the same model says the same bits.
    """
    from modelscale.commands.measuring import EXAMPLES_AT_ONCE
    from modelscale.training.translating import joined

    pieces = [
        trained.model.predictions(x.take(some).to(trained.device)).cpu()
        for some in rows.split(EXAMPLES_AT_ONCE)
    ]
    return joined(pieces)


def streamed(trained: TrainedModel, raw: Raw) -> Iterator[tuple[int, Tensor]]:
    """Yield the answers for all rows in pieces, each with its first row, in constant memory."""
    from math import prod

    import torch

    from modelscale.commands.measuring import EXAMPLES_AT_ONCE

    model = trained.model
    module = model.preprocessing.module()
    width = max(prod(model.inputs.shape), prod(model.preprocessing.shape), 1)
    step = max(1, min(EXAMPLES_AT_ONCE, VALUES_AT_ONCE // width))
    for start in range(0, len(raw), step):
        stop = min(start + step, len(raw))
        with torch.no_grad():
            x = module(torch.from_numpy(model.preprocessing.encode(raw, start, stop)))
        yield start, model.predictions(x.to(trained.device)).cpu()
