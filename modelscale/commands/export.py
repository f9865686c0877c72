"""`modelscale export`: a trained model as a file for other programs, proved to be the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale import __version__
from modelscale.commands.documents import clean
from modelscale.commands.export_files import (
    Made,
    Quantize,
    Target,
    make_executorch,
    make_onnx,
    make_program,
    model_sha256,
)
from modelscale.commands.export_sample import Sample, answered, first_values, sample_of
from modelscale.commands.telling import Listener
from modelscale.commands.trained_model import TrainedModel, shown
from modelscale.errors import CannotCreate, UsageError
from modelscale.evaluation.metric_names import default_metrics, metric_for
from modelscale.evaluation.section import EvaluateSection
from modelscale.runs.export_files import (
    EXPORTS,
    certificate_of,
    check_place,
    make_durable,
    read_certificate,
    write_export,
)

if TYPE_CHECKING:
    from modelscale.evaluation.metrics.base import MetricSpec
    from modelscale.export.parity import Parity

BATCH_SIZES = (1, 128)
FLOAT_TOLERANCE = 1e-4
INT8_TOLERANCE = 0.01
_GATE_FAILED = 3
_TURNS = 3
_FORMAT = 1  # of the certificate; another one makes another file
_ENDINGS: dict[Target, str] = {"onnx": "onnx", "torch-export": "pt2", "executorch": "pte"}


@dataclass(frozen=True)
class ExportRequest:
    """One command line.

    Attributes:
        to: The format.
        output: The file; None for `exports/` beside the checkpoints.
        quantize: Whether and how to compute with eight bits.
        tolerance: None for the usual one; see `docs/commands/export.md`.
        metric: Label of the metric to hold the file to; None for the spec's first one.
        data: Examples to prove the file on; None for the run's validation part.
        seconds: Of timing at each batch size.
        force: Whether another file of that name may be replaced.
        accept_data_change: Whether the run's data may have changed since.
    """

    to: Target
    output: Path | None = None
    quantize: Quantize = "none"
    tolerance: float | None = None
    metric: str | None = None
    data: str | None = None
    seconds: float = 0.5
    force: bool = False
    accept_data_change: bool = False

    def bound(self) -> float:
        """Return the tolerance."""
        if self.tolerance is not None:
            return self.tolerance
        return FLOAT_TOLERANCE if self.quantize == "none" else INT8_TOLERANCE


@dataclass(frozen=True)
class Exported:
    """A file that was written, or why it was not.

    Attributes:
        document: The command's keys of the JSON document.
        faults: One line if the file is too far from the model.
    """

    document: dict[str, Any]
    faults: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """3 if the file is too far from the model, otherwise 0."""
        return _GATE_FAILED if self.faults else 0

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        if not self.faults:
            return self.document
        failed = {"exit_code": self.exit_code, "messages": list(self.faults)}
        return {**self.document, "status": "error", **failed}


def export(trained: TrainedModel, request: ExportRequest, tell: Listener) -> Exported:
    """Write a trained model to a file that is proved, or report the one that is there.

    Args:
        trained: The model, on the CPU.
        request: The command line.
        tell: Hears what happens.

    Raises:
        CannotCreate: If another file has the name, or the file cannot be created.
        DataError: If the data to prove it on has changed.
        GateFailed: If the model cannot be exported.
        Unavailable: If a package is missing.
        UsageError: If the request does not fit together.
    """
    if request.quantize != "none" and request.to != "onnx":
        raise UsageError("--quantize is for --to onnx, as ONNX Runtime does the arithmetic")
    if request.quantize != "none" and trained.model.task == "ranking":
        raise UsageError("--quantize is judged by a metric, and a ranking's needs whole lists")
    if trained.model.task == "pretraining":
        raise UsageError(
            "export is for models that answer; train one from this (model: {from: …})"
        )
    metrics = _metrics(trained, request.metric)
    path = request.output or _place(trained, request)
    digest = _digest(trained, request)
    check_place(path)
    found = read_certificate(path)
    if found is not None and found.get("digest") == digest and not request.force:
        make_durable(path)
        tell.note(f"{shown(path)}: exported earlier; --force exports it again")
        return Exported({**found["document"], **trained.facts(), "files": _files(path)})
    if path.exists() and not request.force:
        raise CannotCreate(f"{path}: exists already; --force overwrites it")
    _check_extra(request.to)
    sample = sample_of(trained, request.data, accept_change=request.accept_data_change)
    made = _made(trained, request, sample, tell)
    tell.note(f"comparing on {len(sample.rows):,} rows ({sample.part})")
    parity = _parity(trained, sample, made, metrics)
    document = _document(trained, request, sample, made, parity)
    fault = _fault(parity, request)
    if fault is not None:
        return Exported({**document, "files": []}, (fault,))
    tell.note("timing")
    document["latency_ms"] = _latencies(trained, sample, made, request.seconds)
    facts = {
        "format": _FORMAT,
        "digest": digest,
        "signature": made.signature.to_json(),
        "document": document,
    }
    write_export(path, made.data, facts)
    return Exported({**document, "files": _files(path)})


def _check_extra(to: Target) -> None:
    """Raise, before any work, if a package is missing."""
    if to == "onnx":
        from modelscale.export.onnx_file import check_onnx

        check_onnx()
    elif to == "executorch":
        from modelscale.export.executorch_file import check_executorch

        check_executorch()


def _made(
    trained: TrainedModel, request: ExportRequest, sample: Sample, tell: Listener
) -> Made:
    if request.to == "onnx":
        return make_onnx(trained, request.quantize, sample, tell)
    return (
        make_program(trained)
        if request.to == "torch-export"
        else make_executorch(trained, tell)
    )


def _place(trained: TrainedModel, request: ExportRequest) -> Path:
    """Return the file in the folder of the run, trial or member whose checkpoint it is."""
    if trained.run is None:
        raise UsageError(
            f"{trained.checkpoint.path}: stands in no run, so there is no place for the file; "
            "give --output FILE"
        )
    kind = "" if request.quantize == "none" else f".{request.quantize}"
    home = trained.checkpoint.path.parent.parent
    return home / EXPORTS / f"model{kind}.{_ENDINGS[request.to]}"


def _digest(trained: TrainedModel, request: ExportRequest) -> str:
    """Return what an equal request for the same model has too."""
    parts = [
        _FORMAT,
        __version__,
        model_sha256(trained.checkpoint.files),
        request.to,
        request.quantize,
        request.bound(),
        request.metric,
        request.data,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _files(path: Path) -> list[str]:
    return [shown(path), shown(certificate_of(path))]


def _metrics(trained: TrainedModel, name: str | None) -> tuple[MetricSpec, ...]:
    """Return what is compared, the main metric first; nothing of a ranking.

    Places in lists are not known from the scores of a file's rows alone.
    """
    task = trained.model.task
    if task == "ranking":
        if name is not None:
            raise UsageError("--metric: a ranking is proved by its scores, not by a metric")
        return ()
    own = () if trained.experiment is None else trained.experiment.metrics
    wanted: list[MetricSpec] = []
    if name is not None:
        try:
            wanted.append(metric_for(name, task))
        except ValueError as error:
            raise UsageError(f"--metric: {error}") from None
        if wanted[0].binary_only and trained.model.targets != 2:
            raise UsageError(
                f"--metric {name}: needs two classes, and the model has {trained.model.targets}"
            )
    wanted += [*own, *default_metrics(task)]
    if task == "translation":
        if name is not None and not wanted[0].during_training:
            raise UsageError(
                f"--metric {name}: a translator's file gives logits and writes nothing itself; "
                "it is proved by token_accuracy and token_perplexity"
            )
        wanted = [metric for metric in wanted if metric.during_training]
    return tuple({metric.label(): metric for metric in wanted}.values())


def _parity(
    trained: TrainedModel, sample: Sample, made: Made, metrics: tuple[MetricSpec, ...]
) -> Parity:
    from modelscale.export.parity import compare

    both = answered(trained, sample, made.signature, made.answer(made.data))
    experiment = trained.experiment
    section = EvaluateSection() if experiment is None else experiment.evaluate
    return compare(both.expected, both.found, both.targets, metrics, section, both.logits)


def _fault(parity: Parity, request: ExportRequest) -> str | None:
    """Return why a file is too far from its model; None if it is near enough."""
    bound = request.bound()
    if request.quantize == "none":
        if parity.max_scaled_diff <= bound:
            return None
        return (
            f"parity: answers differ by up to {parity.max_scaled_diff:.3g}, more than the "
            f"tolerance {bound:g}; nothing was written"
        )
    if parity.metrics and parity.metrics[0].loss <= bound:
        return None
    main = parity.metrics[0] if parity.metrics else None
    lost = "answers of another shape" if main is None else f"{main.label} is worse by "
    lost += "" if main is None else f"{main.loss:.3g} ({main.model:.4g} → {main.artifact:.4g})"
    return f"parity: {lost}, more than the tolerance {bound:g}; nothing was written"


def _document(
    trained: TrainedModel, request: ExportRequest, sample: Sample, made: Made, parity: Parity
) -> dict[str, Any]:
    import torch

    document = {
        **trained.facts(),
        "to": request.to,
        "quantize": made.quantized and f"int8-{made.quantized}",
        "opset": made.opset,
        "bytes": len(made.data),
        "model_bytes": len(trained.checkpoint.files["model.safetensors"]),
        "runtime": made.runtime,
        "threads": torch.get_num_threads(),
        "data": {
            "origin": sample.raw.origin,
            "fingerprint": sample.raw.fingerprint,
            "part": sample.part,
            "rows": len(sample.rows),
        },
        "tolerance": request.bound(),
        "parity": parity.to_json(),
        "latency_ms": {},
        **_ports(made),
    }
    return dict(clean(document))


def _ports(made: Made) -> dict[str, Any]:
    """Return inputs and output without the words of categories, which may be many."""
    document = made.signature.to_json()
    for port in (*document["inputs"], document["output"]):
        del port["words"]
    return document


def _latencies(
    trained: TrainedModel, sample: Sample, made: Made, seconds: float
) -> dict[str, dict[str, float]]:
    """Return median milliseconds from values to answers, by runtime and batch size.

    In `eager` categories are codes already, since PyTorch has no texts.
    """
    import torch

    from modelscale.export.answers import answers_of
    from modelscale.export.runtime import Answer, answers_latency
    from modelscale.export.signature import signature_of

    module = answers_of(trained.model)
    codes = signature_of(trained.model, text=False)
    by_codes = first_values(trained, sample, codes, max(BATCH_SIZES))
    values = first_values(trained, sample, made.signature, max(BATCH_SIZES))

    def eager(given: Mapping[str, Any]) -> Any:
        return module(*(torch.from_numpy(value) for value in given.values()))

    timed: dict[str, tuple[Answer, dict[str, Any]]] = {"eager": (eager, by_codes)}
    if made.plain is not None:
        timed[f"{made.runtime} float"] = (made.answer(made.plain), values)
    timed[made.runtime] = (made.answer(made.data), values)
    best: dict[str, dict[str, float]] = {name: {} for name in timed}
    # In turns, the best one counts: other programs only ever make a turn slower.
    for _ in range(_TURNS):
        for name, (answer, given) in timed.items():
            for found in answers_latency(answer, given, BATCH_SIZES, seconds=seconds / _TURNS):
                before = best[name].get(str(found.batch), found.median_ms)
                best[name][str(found.batch)] = min(before, found.median_ms)
    return best
