"""Exporting in a process of its own: an exporter may abort its process, or never return."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import modelscale
from modelscale.errors import GateFailed
from modelscale.export.worker import LENGTH_BYTES, write_frame

TIMEOUT_S = 600.0
OPSET = 20
"""Of the standard operators; what torch's exporter writes without converting."""
_PROGRAM = "from modelscale.export.worker import main; main()"
_STDERR_TAIL_BYTES = 2_000
_READ_BYTES = 1 << 20


class Converter:
    """Turns graphs into other formats in a child process, which is kept for the next ones.

    One that died or took too long is replaced for the next graph. Use it in a `with` block.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        """Make one that gives each graph `timeout_s` seconds."""
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None
        self._told = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child process."""
        self._stop()
        self._told.close()

    def onnx(
        self, program: bytes, inputs: Sequence[str], outputs: Sequence[str], opset: int = OPSET
    ) -> bytes:
        """Return an ONNX model.

        Args:
            program: A graph as `program.to_bytes` writes it.
            inputs: Names in the order of the graph's.
            outputs: Names in the order of the graph's.
            opset: Version of the standard operators.

        Raises:
            GateFailed: If it cannot be exported; the message says why.
        """
        names = {"inputs": list(inputs), "outputs": list(outputs)}
        return self._asked({"format": "onnx", **names, "opset": opset}, program)

    def executorch(self, program: bytes) -> bytes:
        """Return an ExecuTorch program for CPUs, by XNNPACK where it has the operator.

        Args:
            program: A graph as `program.to_bytes` writes it, with a largest batch size.

        Raises:
            GateFailed: If it cannot be exported; the message says why.
        """
        return self._asked({"format": "executorch"}, program)

    def _asked(self, header: dict[str, Any], program: bytes) -> bytes:
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            write_frame(child.stdin, header, program)
            reply, data = _read_frame(child.stdout.fileno(), monotonic() + self._timeout_s)
        except TimeoutError:
            self._stop()
            raise GateFailed(
                f"the exporter did not end within {self._timeout_s:g} seconds"
            ) from None
        except (BrokenPipeError, EOFError):
            raise GateFailed(f"the exporter died{self._last_words()}") from None
        except BaseException:
            self._stop()  # a reply may still come that belongs to nobody
            raise
        if "error" in reply:
            raise GateFailed(f"the exporter failed: {reply['error']}")
        return data

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._stop()
            root = str(Path(modelscale.__file__).parent.parent)
            paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
            self._child = subprocess.Popen(
                # -P: a file of the user's folder must not stand in for a library.
                [sys.executable, "-P", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._told,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                process_group=0,  # a stop that is meant for us, such as Ctrl-C, is ours to hear
            )
        return self._child

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # what it was not told yet is lost with it
                    continue
        child.wait()

    def _last_words(self) -> str:
        """Return how the child ended, and the last line that it wrote."""
        code = self._child.wait() if self._child is not None else 0
        self._stop()
        self._told.seek(0, os.SEEK_END)
        self._told.seek(max(0, self._told.tell() - _STDERR_TAIL_BYTES))
        lines = self._told.read().decode(errors="replace").strip().splitlines()
        how = f" of signal {-code}" if code < 0 else f" with exit code {code}"
        return f"{how}: {lines[-1]}" if lines else how


def _read_frame(source: int, deadline_s: float) -> tuple[dict[str, Any], bytes]:
    import json

    length = int.from_bytes(_read(source, LENGTH_BYTES, deadline_s), "big")
    header = json.loads(_read(source, length, deadline_s))
    return header, _read(source, header["size"], deadline_s)


def _read(source: int, size: int, deadline_s: float) -> bytes:
    """Return exactly `size` bytes of a pipe.

    Raises:
        TimeoutError: If they do not come in time.
        EOFError: If the other side is closed.
    """
    pieces, missing = [], size
    while missing:
        ready, _, _ = select.select([source], [], [], max(0.0, deadline_s - monotonic()))
        if not ready:
            raise TimeoutError
        piece = os.read(source, min(missing, _READ_BYTES))
        if not piece:
            raise EOFError
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
