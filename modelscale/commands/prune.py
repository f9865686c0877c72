"""`modelscale prune`: a trained model made smaller, trained again, and measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.commands.ensembling.workshop import Workshop
from modelscale.commands.launching import Request, opened, prepare, run_digest
from modelscale.commands.pruning.bench import Bench, Finder
from modelscale.commands.pruning.ensembles import check_members
from modelscale.commands.pruning.feasible import check_possible
from modelscale.commands.pruning.steps import all_steps
from modelscale.commands.telling import Listener
from modelscale.commands.trained_model import TrainedModel
from modelscale.data.adopting import Adoption
from modelscale.data.reading import shown
from modelscale.errors import DataError, Diverged, UsageError
from modelscale.pruning.kinds.base import PruneSpec
from modelscale.pruning.kinds.int8 import Int8
from modelscale.pruning.kinds.sparse import Sparse
from modelscale.pruning.kinds.structured import Structured
from modelscale.runs.folder import RunFolder

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.training.artifact import Model

_GATE_FAILED = 3


@dataclass(frozen=True)
class Pruned:
    """A finished pruning.

    Attributes:
        run: Its folder.
        document: The command's keys of the JSON document, as `run.json` keeps them.
    """

    run: Path
    document: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """3 where eight bits lose more than they may, or a latency was not met."""
        return _GATE_FAILED if self.faults else 0

    @property
    def faults(self) -> tuple[str, ...]:
        """What was asked for and is not there, a line each."""
        timed = [step["latency"] for step in self.document["steps"] if "latency" in step]
        missed = [found["text"] for found in timed if not found["met"]]
        fault = self.document.get("int8", {}).get("fault")
        return tuple(missed if fault is None else [*missed, fault])

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        told = {"run": str(self.run), "status": "done", **self.document}
        if not self.faults:
            return told
        failed = {"exit_code": self.exit_code, "messages": list(self.faults)}
        return {**told, "status": "error", **failed}


def prune(request: Request, source: TrainedModel, tell: Listener) -> Pruned:
    """Make a trained model smaller, or go on with it, or report what it came to.

    Args:
        request: With the spec of the model's run and a `prune` section.
        source: The model, on the CPU.
        tell: Hears what happens.

    Raises:
        DataError: If the data is not what the model was trained on.
        Diverged: If training again diverged.
        SpecError: If the section does not fit the model.
        TryAgain: If the run was interrupted; its state is saved.
        UsageError: If it is an ensemble whose members alone are none.
    """
    from modelscale.training.ensemble_artifact import is_ensemble, load_members

    section = request.experiment.prune
    assert section is not None
    if source.model.task == "pretraining":
        raise UsageError(
            f"{shown(source.checkpoint.path)}: is pre-trained; train a model from it "
            "(model: {from: …}) and prune that"
        )
    assembly = prepare(request, tell)
    if source.model.preprocessing.adopted:
        assembly.adopts = Adoption(source.model.preprocessing)
    several = is_ensemble(source.checkpoint.files)
    models = load_members(source.checkpoint.files) if several else (source.model,)
    for model in models:
        _check(assembly, model, source.fold)
        _check_steps(assembly, model, section)
    if several:
        check_members(assembly, source, section)
    own = run_digest(request, assembly.loaded.raw.fingerprint)
    digest = hashlib.sha256(f"{own}\n{source.checkpoint.sha256}".encode()).hexdigest()
    units = Finder()
    name = request.experiment.name or request.stem
    if request.new or not RunFolder.exists(request.root, name, digest):
        data = assembly.replica(source.fold, assembly.experiment.seed).data
        check_possible(assembly, models[0], data, section, units)
    with opened(request, assembly, digest, tell) as (run, stop):
        if run.finished:
            return _reported(run)
        shop = Workshop(run, assembly, stop, tell)
        try:
            bench = Bench(shop, source.model, source.fold, units=units)
            document = _made(bench, section, source, several=several)
        finally:
            shop.close()
        pruned = Pruned(run.path, document)
        run.finish("done", document, pruned.exit_code)
        return pruned


def _reported(run: RunFolder) -> Pruned:
    if run.record.status == "diverged":
        raise Diverged(f"{run.path}: {run.record.result.get('error', 'diverged')}")
    return Pruned(run.path, run.record.result)


def _check(assembly: Assembly, model: Model, fold: int) -> None:
    """Raise DataError where the data is other than the model was trained on."""
    raw = assembly.loaded.raw
    if raw.fingerprint != model.fingerprint:
        raise DataError(
            f"{raw.origin}: is not the data that the model was trained on (sha256 "
            f"{raw.fingerprint[:12]}… now, {model.fingerprint[:12]}… then)"
        )
    if fold >= assembly.folds:
        raise DataError(f"the model is of fold {fold}, and the spec has {assembly.folds}")
    data = assembly.replica(fold, assembly.experiment.seed).data
    if data.preprocessing.to_json() != model.preprocessing.to_json():
        raise DataError(
            f"{raw.origin}: is divided or prepared otherwise than when the model was trained; "
            "leave the data section as it was"
        )


def _check_steps(assembly: Assembly, model: Model, section: PruneSpec) -> None:
    """Raise where a step cannot follow what was done to the model before, or lacks an extra."""
    from modelscale.models.edits.sparse import Sparse as SparseEdit

    steps = section.parts()
    was_sparse = any(isinstance(edit, SparseEdit) for edit in model.edits)
    if was_sparse and any(not isinstance(step, (Sparse, Int8)) for step in steps):
        raise assembly.fault("prune", "a sparse model can only become sparser, or int8")
    needs_onnx = any(
        isinstance(step, Int8) or (isinstance(step, Structured) and _in_onnx(step))
        for step in steps
    )
    if needs_onnx:
        from modelscale.export.onnx_file import check_onnx

        check_onnx()


def _in_onnx(step: Structured) -> bool:
    """Return whether a step cannot do without ONNX Runtime."""
    if step.sweep is not None:
        return "int8" in step.sweep.methods
    by_time = step.target is not None and step.target.measure == "latency"
    return by_time and step.runtime == "onnxruntime"


def _made(
    bench: Bench, section: PruneSpec, source: TrainedModel, *, several: bool
) -> dict[str, Any]:
    """Do all steps and return the document."""
    from modelscale.commands.pruning.eight_bits import asked_for
    from modelscale.commands.pruning.ensembles import prune_members
    from modelscale.commands.pruning.finishing import finished
    from modelscale.training.artifact import dump_network

    # Before anything is computed: sums depend on the number of threads, and so do times.
    bench.shop.plan("retrain", [bench.replica])
    files: Mapping[str, bytes]
    if several:
        files, step, steps = prune_members(bench.shop, source, section)
    else:
        made = all_steps(bench, section)
        files, step, steps = dump_network(made.model), made.step, made.steps
    return finished(bench, files, source, steps, step, asked_for(section, steps))
