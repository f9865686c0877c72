"""From a trained model to files of other formats, in memory, ready to be proved."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from modelscale import __version__
from modelscale.commands.export_sample import Sample, calibration
from modelscale.commands.telling import Listener
from modelscale.commands.trained_model import TrainedModel

if TYPE_CHECKING:
    from modelscale.export.runtime import Answer
    from modelscale.export.signature import Signature

Target = Literal["onnx", "torch-export", "executorch"]
Quantize = Literal["none", "int8", "int8-static", "int8-dynamic"]
METADATA_FORMAT = 1


@dataclass(frozen=True)
class Made:
    """A file that is not written yet.

    Attributes:
        data: Its content.
        signature: What it takes and gives.
        runtime: What answers with it.
        quantized: `static` or `dynamic`; None for single precision.
        opset: Version of ONNX's standard operators; None in other formats.
        plain: The same model in single precision, where `data` is quantised.
    """

    data: bytes
    signature: Signature
    runtime: str
    quantized: str | None = None
    opset: int | None = None
    plain: bytes | None = None

    def answer(self, data: bytes) -> Answer:
        """Return a function that answers with the file, or with its plain form."""
        from modelscale.export import runtime
        from modelscale.export.executorch_file import LARGEST_BATCH

        if self.runtime == "executorch":
            return runtime.executorch_answers(data, LARGEST_BATCH)
        onnx = self.runtime == "onnxruntime"
        return runtime.onnx_answers(data) if onnx else runtime.program_answers(data)


def make_program(trained: TrainedModel) -> Made:
    """Return a model as a `torch.export` archive.

    Raises:
        GateFailed: If it cannot be exported.
    """
    from modelscale.export.answers import graph_of
    from modelscale.export.program import to_bytes
    from modelscale.export.signature import signature_of

    signature = signature_of(trained.model, text=False)
    program = graph_of(trained.model)
    return Made(to_bytes(program, _metadata(trained, signature)), signature, "torch-export")


def make_executorch(trained: TrainedModel, tell: Listener) -> Made:
    """Return a model as an ExecuTorch program.

    Raises:
        GateFailed: If it cannot be exported.
        Unavailable: If the package is missing.
    """
    from modelscale.export.executorch_file import export_executorch
    from modelscale.export.signature import signature_of

    tell.note("exporting to ExecuTorch")
    signature = signature_of(trained.model, text=False)
    return Made(export_executorch(trained.model), signature, "executorch")


def make_onnx(
    trained: TrainedModel, quantize: Quantize, sample: Sample, tell: Listener
) -> Made:
    """Return a model as an ONNX file.

    Raises:
        GateFailed: If it cannot be exported or quantised.
        Unavailable: If a package is missing.
        UsageError: If it is to be calibrated and the training rows are not known.
    """
    import onnx

    from modelscale.export.onnx_file import completed, export_onnx, opset_of
    from modelscale.export.quantise import quantise_dynamic, quantise_static, scheme_for
    from modelscale.export.signature import signature_of

    signature = signature_of(trained.model, text=True)
    tell.note("exporting to ONNX")
    core = export_onnx(trained.model)
    opset = opset_of(onnx.load_model_from_string(core))
    plain = completed(core, signature, _metadata(trained, signature))
    if quantize == "none":
        return Made(plain, signature, "onnxruntime", opset=opset)
    scheme = scheme_for(core) if quantize == "int8" else quantize.removeprefix("int8-")
    tell.note(f"quantising to int8, {scheme}")
    if scheme == "static":
        by_codes = signature_of(trained.model, text=False)
        core = quantise_static(core, calibration(trained, sample, by_codes))
    else:
        core = quantise_dynamic(core)
    data = completed(core, signature, _metadata(trained, signature, f"int8 {scheme}"))
    return Made(data, signature, "onnxruntime", scheme, opset, plain)


def model_sha256(files: Mapping[str, bytes]) -> str:
    """Return what tells a checkpoint's model from all others."""
    from modelscale.training.artifact import FACTS, WEIGHTS

    sha = hashlib.sha256()
    for name in (FACTS, WEIGHTS):
        sha.update(hashlib.sha256(files[name]).digest())
    return sha.hexdigest()


def _metadata(
    trained: TrainedModel, signature: Signature, quantization: str | None = None
) -> dict[str, Any]:
    """Return what a file says of itself."""
    model = trained.model
    symbols = model.preprocessing.symbols or model.preprocessing.transcript
    written = model.preprocessing.written
    return {
        "format": METADATA_FORMAT,
        "modelscale": __version__,
        "task": model.task,
        "labels": list(model.preprocessing.labels),
        **signature.to_json(),
        "symbols": None if symbols is None else symbols.model_dump(mode="json"),
        "written": None if written is None else written.model_dump(mode="json"),
        "quantization": quantization,
        "model_sha256": model_sha256(trained.checkpoint.files),
        "data_sha256": model.fingerprint,
    }
