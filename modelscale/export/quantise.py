"""Arithmetic with eight bits, by ONNX Runtime's tools.

Static: activations have fixed scales, found on calibration examples; the kind for
convolutions. Dynamic: each activation is scaled by what is in it, and only products with
weights are quantised; the kind for linear and attention layers, where it is as fast and
rounds less. Weights have one scale for each output channel.

Activations are unsigned and weights signed, the only pair with fast kernels for convolutions
on x86. Weights use 7 of their 8 bits: a processor without VNNI instructions adds pairs of
products in 16 bits, which 8 would overflow there, silently.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modelscale.errors import GateFailed, ModelscaleError
from modelscale.export.onnx_file import check_onnx

if TYPE_CHECKING:
    from numpy.typing import NDArray

Feeds = Mapping[str, "NDArray[Any]"]
Scheme = Literal["static", "dynamic"]
_WITH_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_QUANTISERS = {"QuantizeLinear", "DynamicQuantizeLinear"}
_BETWEEN = (
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "GlobalAveragePool",
    "MaxPool",
    "Mul",
    "Relu",
)


def scheme_for(data: bytes) -> Scheme:
    """Return which way suits an ONNX model: static if it has convolutions, else dynamic."""
    import onnx

    model = onnx.load_model_from_string(data)
    convolutions = any(node.op_type.startswith("Conv") for node in model.graph.node)
    return "static" if convolutions else "dynamic"


def quantise_static(data: bytes, calibration: Iterable[Feeds]) -> bytes:
    """Return an ONNX model with weights and activations of eight bits.

    Args:
        data: A float model.
        calibration: Batches of its inputs, by name, that look like those to come: training
            examples. The smallest and largest values of each activation make its scale.

    Raises:
        GateFailed: If the model cannot be quantised.
        Unavailable: If ONNX Runtime is missing.
    """
    check_onnx()
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    def quantise(source: Path, target: Path) -> None:
        quantize_static(
            source,
            target,
            _reader(calibration),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=[*_WITH_WEIGHTS, *_BETWEEN],
            nodes_to_exclude=_outside_of_layers(source),
            # What follows rounds its own input; the last layer's output stays exact.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
        )

    return _through_files(data, quantise)


def quantise_dynamic(data: bytes) -> bytes:
    """Return an ONNX model whose products with weight matrices have eight bits.

    Raises:
        GateFailed: If the model cannot be quantised.
        Unavailable: If ONNX Runtime is missing.
    """
    check_onnx()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def quantise(source: Path, target: Path) -> None:
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],  # ConvInteger is slower than float
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )

    return _through_files(data, quantise)


def _outside_of_layers(source: Path) -> list[str]:
    """Return the names of nodes that no layer comes before, or none after.

    They are what makes inputs of the user's values, and answers of the outputs: category
    codes, units, probabilities. Eight bits are too few for those.
    """
    import onnx

    nodes = list(onnx.load(source).graph.node)  # in an order in which values come before use
    after: set[str] = set()
    for node in nodes:
        if node.op_type in _WITH_WEIGHTS or after.intersection(node.input):
            after.update(node.output)
    before: set[str] = set()
    for node in reversed(nodes):
        if node.op_type in _WITH_WEIGHTS or before.intersection(node.output):
            before.update(node.input)
    return [
        node.name
        for node in nodes
        if node.op_type not in _WITH_WEIGHTS
        and not (after.intersection(node.input) and before.intersection(node.output))
    ]


def _reader(batches: Iterable[Feeds]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # an untyped base
        """The batches, one after the other."""

        def __init__(self) -> None:
            self._rest = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            feeds = next(self._rest, None)
            return None if feeds is None else dict(feeds)

    return Reader()


def _through_files(data: bytes, quantise: Any) -> bytes:
    """Return what a quantiser makes; it reads and writes files."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from modelscale.models.modules.exported import quietly

    with tempfile.TemporaryDirectory(prefix="modelscale-") as folder, _without_advice():
        source, ready, target = (Path(folder) / name for name in ("in", "ready", "out"))
        source.write_bytes(data)
        try:
            with quietly():
                # Symbolic shapes are for transformers' fusions, which torch has made already.
                quant_pre_process(source, ready, skip_symbolic_shape=True)
                quantise(ready, target)
        except (OSError, ModelscaleError):
            raise
        except Exception as error:  # the tools raise errors of any kind
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise GateFailed(f"the model cannot be quantised: {lines[0]}") from error
        made = target.read_bytes()
        _check_integers(made)
        return made


def _check_integers(data: bytes) -> None:
    """Raise GateFailed where the tools have found nothing to quantise, which they don't say."""
    import onnx

    kinds = {node.op_type for node in onnx.load_model_from_string(data).graph.node}
    if not kinds & _QUANTISERS:
        raise GateFailed(
            "the model cannot be quantised that way: it has no layer of the sort (static takes "
            "every product and convolution, dynamic those with a constant matrix on the right)"
        )


def _without_advice() -> Any:
    """Return a block in which the root logger tells errors alone; the tools advise there."""
    import logging
    from contextlib import contextmanager

    @contextmanager
    def block() -> Any:
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)
        try:
            yield
        finally:
            root.setLevel(level)

    return block()
