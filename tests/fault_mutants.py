"""Ways in which careless code writes to disk; a suite of faults must notice each of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any


def without_file_fsync() -> None:
    """Mutant: files are not made durable."""
    _skip_fsync(lambda mode: not stat.S_ISDIR(mode))


def without_folder_fsync() -> None:
    """Mutant: names are not made durable."""
    _skip_fsync(stat.S_ISDIR)


def copy_for_rename() -> None:
    """Mutant: a file or folder gets its final name by being copied to it."""

    def copy(source: Any, path: Any) -> None:
        source, path = Path(source), Path(path)
        if source.is_symlink():
            path.unlink(missing_ok=True)
            path.symlink_to(source.readlink())
        elif source.is_dir():
            path.mkdir()
            for inner in sorted(source.iterdir()):
                copy(inner, path / inner.name)
            source.rmdir()
            return
        else:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT)
            os.ftruncate(fd, 0)
            os.write(fd, source.read_bytes())
            os.close(fd)
        source.unlink()

    os.rename = os.replace = copy  # type: ignore[assignment]


def _skip_fsync(skipped: Callable[[int], bool]) -> None:
    real = {"fsync": os.fsync, "fdatasync": os.fdatasync}

    def wrap(call: Callable[[int], None]) -> Callable[[int], None]:
        return lambda fd: None if skipped(os.fstat(fd).st_mode) else call(fd)

    os.fsync, os.fdatasync = wrap(real["fsync"]), wrap(real["fdatasync"])
