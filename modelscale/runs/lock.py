"""One process at a time in a run folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from modelscale.errors import InputMissing, TryAgain, Unavailable
from modelscale.runs.atomic import storage_error, write_all

LOCK_FILE = ".lock"
_WAIT_S = 0.4  # longer than another process's look at the lock, shorter than anyone notices
_POLL_S = 0.02
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


@dataclass(frozen=True)
class LockHolder:
    """Who works in a folder."""

    pid: int | None
    """Process id on `host`; None where the holder has not said it yet."""

    host: str
    """Name of the machine."""

    boot_id: str = ""
    """Changes with every start of the machine; empty where the system has none."""

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        return f"process {self.pid} on {self.host}"


class RunLock:
    """The exclusive right to write in a folder, held until `release` or the process's end.

    The kernel keeps it (flock), so it is gone with its process, also after SIGKILL. The text
    in the file only tells who holds it.
    """

    def __init__(self, folder: Path, wait_s: float = _WAIT_S) -> None:
        """Take the lock of `folder`.

        Raises:
            TryAgain: If another process still holds it after `wait_s` seconds.
            InputMissing: If the folder is not there (any more).
            CannotCreate: If the folder is read-only.
            Unavailable: If the file system has no locks.
        """
        self.path = folder / LOCK_FILE
        self._fd = _acquire(self.path, time.monotonic() + wait_s)
        _held.add(self)
        me = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "boot": _boot_id()})
        try:
            os.ftruncate(self._fd, 0)
            write_all(self._fd, me.encode() + b"\n")
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                return  # the text is for messages alone, and a full disk must stay usable
            self.release()
            raise storage_error(error, self.path, len(me)) from error

    def release(self) -> None:
        """Give the lock back; again is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def lock_holder(folder: Path) -> LockHolder | None:
    """Return who holds the lock of `folder`, None if nobody does or there is no lock."""
    try:
        fd = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in _NO_LOCKS else _read_holder(fd)
    else:
        return None
    finally:
        os.close(fd)


def _acquire(path: Path, deadline: float) -> int:
    """Return the descriptor that holds the lock."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            raise InputMissing(f"{path.parent}: no such folder") from None
        except OSError as error:
            raise storage_error(error, path) from error
        try:
            if _try_lock(fd, path):
                return fd
            holder = _read_holder(fd)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        if time.monotonic() >= deadline:
            raise TryAgain(
                f"{path.parent}: busy: {holder} works on it; run the same command again later"
            )
        time.sleep(_POLL_S)


def _try_lock(fd: int, path: Path) -> bool:
    """Return whether `fd` now holds the lock that is at `path`."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise storage_error(error, path) from error
        raise Unavailable(
            f"{path.parent}: this file system cannot lock files ({error.strerror}); "
            "choose a folder on another one with --runs"
        ) from error
    try:
        return os.path.samestat(os.fstat(fd), path.stat())  # not the lock of a removed run
    except FileNotFoundError:
        return False


def _read_holder(fd: int) -> LockHolder:
    with suppress(OSError, ValueError, KeyError, TypeError):
        os.lseek(fd, 0, os.SEEK_SET)
        text = json.loads(os.read(fd, 4096))
        return LockHolder(int(text["pid"]), str(text["host"]), str(text["boot"]))
    return LockHolder(None, "")


def _boot_id() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _forget_locks() -> None:
    """Close the locks in a forked child, which would keep them beyond their owner's death."""
    for lock in list(_held):
        lock.release()


_held: weakref.WeakSet[RunLock] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forget_locks)
