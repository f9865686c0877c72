"""What surrounds every command: errors become messages and exit codes, results JSON."""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from modelscale.cli.console import Console
from modelscale.errors import (
    CannotCreate,
    ModelscaleError,
    OutOfMemory,
    StorageError,
)

INTERRUPTED = 130
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
_CREATION = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}


class Result(Protocol):
    """What a command's function returns."""

    @property
    def exit_code(self) -> int:
        """0, or why the command counts as failed although it has a result."""

    def to_json(self) -> dict[str, Any]:
        """Return the command's own keys of the JSON document, `run` and `status` among them."""


R = TypeVar("R", bound=Result)


def run_command(
    name: str, console: Console, work: Callable[[], R], show: Callable[[R], None]
) -> None:
    """Run a command, print its result and leave with its exit code.

    Args:
        name: Of the command, as the JSON document says it.
        console: Where it prints.
        work: Does what the command is for.
        show: Prints the result for people; not called when JSON is asked for.

    Raises:
        SystemExit: Always, unless an error is a bug, which keeps its traceback.
    """
    gc.freeze()  # what was imported lives as long as the process and need not be searched
    gc.enable()
    try:
        result = work()
    except KeyboardInterrupt:
        console.error("interrupted")
        _fail(name, console, INTERRUPTED, ["interrupted"])
    except Exception as error:
        known = as_known(error)
        if known is None:
            console.document(name, _failure(1, [f"{type(error).__name__}: {error}"]))
            raise
        console.error(str(known))
        _fail(name, console, known.exit_code, str(known).splitlines())
    else:
        console.document(name, result.to_json())
        if not console.as_json:
            show(result)
        raise SystemExit(result.exit_code)


def as_known(error: BaseException) -> ModelscaleError | None:
    """Return what an error means to a user, None if it is a bug."""
    if isinstance(error, ModelscaleError):
        return error
    # Compared by name, so that torch and safetensors are not imported to look at an error.
    kind, text = type(error).__name__, str(error)
    if (
        isinstance(error, MemoryError)
        or kind == "OutOfMemoryError"
        or "allocate memory" in text
    ):
        return OutOfMemory(f"out of memory: {text.splitlines()[0] if text else kind}")
    if kind == "SafetensorError" and "No space left" in text:
        return StorageError(f"disk full: {text}")
    if isinstance(error, OSError) and error.errno in _DISK | _CREATION:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in _DISK:
            return StorageError(f"{where}{error.strerror}")
        return CannotCreate(f"{where}cannot be written ({error.strerror})")
    return None


def _failure(exit_code: int, messages: list[str]) -> dict[str, Any]:
    return {"status": "error", "exit_code": exit_code, "messages": messages}


def _fail(name: str, console: Console, exit_code: int, messages: list[str]) -> None:
    console.document(name, _failure(exit_code, messages))
    raise SystemExit(exit_code)
