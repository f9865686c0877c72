"""The program of the child process: turns graphs into other formats until its input ends.

Requests and replies are frames: a length as eight bytes, a JSON header of that length, and as
many bytes after it as the header's `size` says.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import IO, Any

LENGTH_BYTES = 8


def write_frame(stream: IO[bytes], header: dict[str, Any], data: bytes = b"") -> None:
    """Write one frame."""
    text = json.dumps({**header, "size": len(data)}).encode()
    stream.write(len(text).to_bytes(LENGTH_BYTES, "big") + text)
    stream.write(data)
    stream.flush()


def main() -> None:
    """Answer requests on stdin until it ends; stdout belongs to the replies alone."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes to stderr
    requests = sys.stdin.buffer
    while length := requests.read(LENGTH_BYTES):
        header = json.loads(requests.read(int.from_bytes(length, "big")))
        program = requests.read(header["size"])
        try:
            if header["format"] == "onnx":
                data = _onnx(program, header["inputs"], header["outputs"], header["opset"])
            else:
                data = _executorch(program)
        except Exception as error:  # noqa: BLE001  # errors of any kind are for the parent
            lines = str(error).strip().splitlines() or [""]
            write_frame(replies, {"error": f"{type(error).__name__}: {lines[0]}"})
        else:
            write_frame(replies, {}, data)


def _executorch(program: bytes) -> bytes:
    import warnings

    import torch

    warnings.simplefilter("ignore")
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    graph = torch.export.load(io.BytesIO(program))  # of the parent, which pickles nothing
    lowered = to_edge_transform_and_lower(graph, partitioner=[XnnpackPartitioner()])
    return bytes(lowered.to_executorch().buffer)


def _onnx(program: bytes, inputs: list[str], outputs: list[str], opset: int) -> bytes:
    import warnings

    import torch

    warnings.simplefilter("ignore")
    graph = torch.export.load(io.BytesIO(program))  # of the parent, which pickles nothing
    made = torch.onnx.export(
        graph,
        input_names=inputs,
        output_names=outputs,
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    assert made is not None
    serialized: bytes = made.model_proto.SerializeToString()
    return serialized
