"""ExecuTorch programs: for phones and small devices; here with the kernels of CPUs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from modelscale.errors import missing_extra
from modelscale.export.child import Converter
from modelscale.export.program import to_bytes

if TYPE_CHECKING:
    from modelscale.export.reading import Answering

LARGEST_BATCH = 128
"""Memory for intermediate values is planned when the program is made, for this many rows."""


def check_executorch() -> None:
    """Raise if ExecuTorch is not installed.

    Raises:
        Unavailable: Naming what to install.
    """
    from importlib.util import find_spec

    if find_spec("executorch") is None:
        raise missing_extra("executorch", "executorch", "ExecuTorch")


def export_executorch(model: Answering, converter: Converter | None = None) -> bytes:
    """Return an ExecuTorch program from the user's values, with category codes, to answers.

    Inputs are positional, in the order of the signature.

    Args:
        model: On the CPU, in evaluation mode.
        converter: Of an enclosing block; None starts a process for this export alone.

    Raises:
        GateFailed: If the model cannot be exported.
        Unavailable: If the package is missing.
    """
    from modelscale.export.answers import graph_of

    check_executorch()
    # With a small example ExecuTorch plans too little memory for convolutions, whatever the
    # largest size is said to be.
    program = to_bytes(graph_of(model, LARGEST_BATCH))
    with ExitStack() as stack:
        running = stack.enter_context(Converter()) if converter is None else converter
        return running.executorch(program)
