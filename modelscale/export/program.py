"""Graphs of `torch.export`: what every other format begins with, and a format of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelscale.errors import GateFailed

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

METADATA_FILE = "modelscale.json"
_BATCH = 3  # of the example; exporters take 0 and 1 for constants


def traced(
    module: nn.Module,
    examples: tuple[Tensor, ...] | Mapping[str, Tensor],
    most: int | None = None,
    longest: int | None = None,
) -> ExportedProgram:
    """Return the graph of a module's forward pass with a free batch size.

    Args:
        module: In evaluation mode, on the CPU.
        examples: Its inputs, the batch first and larger than 1. Given by name, the graph
            wants them by name too.
        most: The largest batch that will ever be used; None for any.
        longest: The most positions, where their number, after the batch, is free as well.

    Raises:
        GateFailed: If the module has no such graph; the message says why.
    """
    import torch

    from modelscale.models.modules.exported import quietly

    free = {0: torch.export.Dim("batch", max=most)}
    if longest is not None:
        free[1] = torch.export.Dim("length", max=longest)
    named = dict(examples) if isinstance(examples, Mapping) else {}
    placed = () if isinstance(examples, Mapping) else examples
    try:
        with quietly(), torch.no_grad():
            program = torch.export.export(
                module,
                placed,
                named,
                dynamic_shapes=dict.fromkeys(named, free) or tuple(free for _ in placed),
            )
    except Exception as error:  # the exporter raises errors of any kind
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise GateFailed(f"the model cannot be exported: {lines[0]}") from error
    # Examples are all that the file format would pickle.
    program.example_inputs = None
    return program


def example_batch() -> int:
    """Return the batch size of an example to trace with."""
    return _BATCH


def to_bytes(program: ExportedProgram, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Return a graph as a `.pt2` archive: tensors as plain bytes, the graph as JSON.

    Args:
        program: From `traced`.
        metadata: Goes into the archive as `modelscale.json`.
    """
    import torch

    from modelscale.models.modules.exported import quietly

    extra = {} if metadata is None else {METADATA_FILE: json.dumps(metadata)}
    buffer = io.BytesIO()
    with quietly():
        torch.export.save(program, buffer, extra_files=extra)
    return buffer.getvalue()


def from_bytes(data: bytes) -> ExportedProgram:
    """Return the graph of an archive that `to_bytes` made in this process.

    `torch.export.load` unpickles whatever an archive declares to be pickled. Ours declare
    nothing of that sort, but another's may: never pass it a file.
    """
    import torch

    from modelscale.models.modules.exported import quietly

    with quietly():
        return torch.export.load(io.BytesIO(data))
