"""ONNX files: made from a model or any network, with texts as inputs and metadata inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from modelscale import __version__
from modelscale.errors import GateFailed, missing_extra
from modelscale.export.child import Converter
from modelscale.export.program import example_batch, to_bytes, traced
from modelscale.export.signature import CATEGORIES, Port, Signature

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from modelscale.export.reading import Answering

METADATA_KEY = "modelscale"
BATCH = "batch"
"""Name of the free size of inputs and outputs."""
LENGTH = "length"
"""Name of the second one, where texts may be shorter."""
LARGEST_BYTES = 2_000_000_000
"""A little less than one protocol buffer can be; ONNX beyond it needs more than one file."""
_CODES = "categories.codes"
_LOOKUP_OPSET = 2  # of ai.onnx.ml, the first that looks up texts in both directions


def check_onnx() -> None:
    """Raise if the packages for ONNX are not installed.

    Raises:
        Unavailable: Naming what to install.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing_extra(error.name or "onnx", "export", "ONNX") from None


def export_onnx(model: Answering, converter: Converter | None = None) -> bytes:
    """Return an ONNX model from the user's values, with category codes, to answers.

    Complete it with `completed`; quantise it before that, if at all.

    Args:
        model: On the CPU, in evaluation mode.
        converter: Of an enclosing block; None starts a process for this export alone.

    Raises:
        GateFailed: If the model cannot be exported.
        Unavailable: If a package is missing.
    """
    from modelscale.export.answers import graph_of
    from modelscale.export.signature import signature_of

    signature = signature_of(model, text=False)
    inputs = [port.name for port in signature.inputs]
    program = to_bytes(graph_of(model))
    return _converted(program, inputs, [signature.output.name], converter)


def export_network(
    network: nn.Module, example_shape: tuple[int, ...], converter: Converter | None = None
) -> bytes:
    """Return an ONNX model of a bare network, from `x` (batch, *example_shape) to `y`.

    Args:
        network: Takes one float32 tensor; left as it is, read in evaluation mode.
        example_shape: Of one example, without the batch.
        converter: As for `export_onnx`.

    Raises:
        GateFailed: If the network cannot be exported.
        Unavailable: If a package is missing.
    """
    import torch

    from modelscale.models.modules.exported import quietly, twin_of

    with quietly():  # the graph of a pruned network
        module = twin_of(network).cpu().eval()
    examples = (torch.zeros(example_batch(), *example_shape),)
    return _converted(to_bytes(traced(module, examples)), ["x"], ["y"], converter)


def _converted(
    program: bytes, inputs: list[str], outputs: list[str], converter: Converter | None
) -> bytes:
    check_onnx()
    if len(program) > LARGEST_BYTES:
        raise GateFailed("the model is larger than one ONNX file can be (2 GB)")
    with ExitStack() as stack:
        running = stack.enter_context(Converter()) if converter is None else converter
        return running.onnx(program, inputs, outputs)


def completed(data: bytes, signature: Signature, metadata: Mapping[str, Any]) -> bytes:
    """Return an ONNX model that takes categories as texts and says what it is.

    Args:
        data: From `export_onnx`, perhaps quantised.
        signature: With texts.
        metadata: Goes in as JSON under the key `modelscale`.
    """
    import onnx
    from google.protobuf.message import EncodeError

    model = onnx.load_model_from_string(data)
    for port in signature.inputs:
        if port.dtype == "string":
            _look_up(model, port)
    model.producer_name, model.producer_version = "modelscale", __version__
    model.graph.name = "modelscale"
    shorter = {port.name for port in (*signature.inputs, signature.output) if port.shorter}
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
        if value.name in shorter:
            value.type.tensor_type.shape.dim[1].dim_param = LENGTH
    del model.graph.value_info[:]  # sizes in terms of the name that the batch had
    del model.metadata_props[:]
    # Names of nodes in the graph that torch traced: large, and of no use to a reader.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    document = {**metadata, "opset": opset_of(model)}
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(document, ensure_ascii=False)
    try:
        onnx.checker.check_model(model)
        written: bytes = model.SerializeToString(deterministic=True)
    except (onnx.checker.ValidationError, EncodeError, UnicodeError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise GateFailed(f"the ONNX model is not valid: {reason[0]}") from error
    return written


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators that a model uses."""
    return int(
        next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    )


def _look_up(model: onnx.ModelProto, port: Port) -> None:
    """Put a lookup from texts (batch, columns) to codes before the input of that name."""
    from onnx import TensorProto, helper

    graph = model.graph
    place = next(i for i, value in enumerate(graph.input) if value.name == port.name)
    for node in graph.node:
        node.input[:] = [_CODES if name == port.name else name for name in node.input]
    texts = helper.make_tensor_value_info(port.name, TensorProto.STRING, [BATCH, *port.shape])
    graph.input.remove(graph.input[place])
    graph.input.insert(place, texts)
    columns = [f"{CATEGORIES}.{i}" for i in range(len(port.words))]
    codes = [f"{name}.codes" for name in columns]
    nodes = [
        helper.make_node(
            "Split", [port.name], columns, axis=1, num_outputs=len(columns), name="columns"
        )
    ]
    nodes += [
        helper.make_node(
            "LabelEncoder",
            [column],
            [code],
            name=f"{column}.lookup",
            domain="ai.onnx.ml",
            # An empty list would be no lookup at all; this word has the code of all others.
            keys_strings=list(words) or [""],
            values_int64s=list(range(1, len(words) + 1)) or [0],
            default_int64=0,
        )
        for column, code, words in zip(columns, codes, port.words, strict=True)
    ]
    nodes.append(helper.make_node("Concat", codes, [_CODES], axis=1, name=_CODES))
    for node in reversed(nodes):
        graph.node.insert(0, node)
    if not any(entry.domain == "ai.onnx.ml" for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", _LOOKUP_OPSET))
