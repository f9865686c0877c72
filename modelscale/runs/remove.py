"""Removing runs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from modelscale.errors import InputMissing, ModelscaleError, UsageError
from modelscale.runs import atomic
from modelscale.runs.folder import LATEST
from modelscale.runs.lock import LOCK_FILE, RunLock
from modelscale.runs.record import RUN_FILE, read_record, run_folders

_WAIT_S = 5.0


def remove_run(path: Path, root: Path, *, force: bool = False) -> int:
    """Delete a run folder directly under a name's folder under `root`; return bytes freed.

    The folder first gets a name that no reader looks at, so that a half-deleted run is never
    taken for one.

    Args:
        path: The run folder.
        root: The runs folder; nothing outside it is ever deleted.
        force: Whether to delete even a run that a process works on.

    Raises:
        UsageError: If the folder is not a run under `root`.
        InputMissing: If it is not there.
        TryAgain: If a process works on it and `force` is not set.
        StorageError: If deleting failed.
    """
    path, root = path.resolve(), root.resolve()
    if path.parent.parent != root or path.name.startswith("."):
        raise UsageError(f"{path}: not a run directly under {root}; nothing was removed")
    if not os.path.lexists(path / RUN_FILE):
        raise InputMissing(f"{path}: no run there")
    with RunLock(path.parent, wait_s=_WAIT_S):
        lock = None if force else RunLock(path)
        try:
            freed = _size_bytes(path)
            atomic.retire_folder(path)
        finally:
            if lock is not None:
                lock.release()
        _settle(path.parent)
    return freed


def _settle(folder: Path) -> None:
    """Let `latest` lead to the newest run that is left; remove a folder without runs."""
    left = run_folders(folder)
    latest = folder / LATEST
    with atomic.storage_errors(folder):
        if left:
            if not (latest / RUN_FILE).exists():
                atomic.replace_link(latest, max(left, key=_number).name)
            return
        if latest.is_symlink():
            latest.unlink()
        if [inner.name for inner in folder.iterdir()] == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
            with suppress(OSError):
                folder.rmdir()


def _number(path: Path) -> tuple[int, str]:
    try:
        return read_record(path).number, path.name
    except ModelscaleError:  # a damaged run is never the newest
        return 0, path.name


def _size_bytes(path: Path) -> int:
    status = path.lstat()
    if path.is_symlink() or not path.is_dir():
        return status.st_size
    return sum(_size_bytes(inner) for inner in path.iterdir())
