"""Sees the calls of `os` that change what is on disk below a folder, and can disturb them."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NEEDS_SPACE = {"create", "write", "mkdir", "symlink"}


@dataclass(frozen=True)
class Step:
    """One call that changes what is on disk."""

    kind: str
    """create, write, truncate, fsync, rename, unlink, symlink, mkdir or rmdir."""

    path: str
    """What it changes, relative to the watched folder; for a rename, the new name."""

    source: str = ""
    """The old name of a rename, or the target of a symlink."""

    data: bytes = b""
    """The bytes of a write."""

    size: int = 0
    """The new size of a truncate."""

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


class Watch:
    """Sees every step below a folder before and after it is taken. For one process's life."""

    def __init__(self, folder: Path) -> None:
        self.root = f"{folder.resolve()}/"  # paths are relative to it, "" is itself

    def before(self, step: Step, fd: int | None) -> None:
        """Called before a step is taken."""

    def after(self, step: Step) -> None:
        """Called after a step was taken."""

    def install(self) -> None:
        """Wrap the calls of `os`. There is no way back: this process is a child."""
        real_open = os.open

        def opened(
            path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
        ) -> int:
            place = self._place(path, dir_fd)
            if place is None or not flags & os.O_CREAT or os.path.lexists(self.root + place):
                return real_open(path, flags, mode, dir_fd=dir_fd)
            self.before(Step("create", place), None)
            fd = real_open(path, flags, mode, dir_fd=dir_fd)
            self.after(Step("create", place))
            return fd

        os.open = opened
        os.write = self._on_fd(os.write, "write")
        os.ftruncate = self._on_fd(os.ftruncate, "truncate")
        os.fsync = self._on_fd(os.fsync, "fsync")
        os.fdatasync = self._on_fd(os.fdatasync, "fsync")
        os.rename = self._on_names(os.rename, "rename")
        os.replace = self._on_names(os.replace, "rename")
        os.symlink = self._on_names(os.symlink, "symlink")
        os.mkdir = self._on_name(os.mkdir, "mkdir")
        os.rmdir = self._on_name(os.rmdir, "rmdir")
        os.unlink = os.remove = self._on_name(os.unlink, "unlink")

    def _place(self, path: Any, dir_fd: int | None = None) -> str | None:
        """Return a path relative to the watched folder, None if it is elsewhere."""
        if isinstance(path, int):
            return None
        base = Path.cwd() if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink()
        full_path = base / os.fsdecode(path)
        full = str(full_path.parent.resolve() / full_path.name)
        return self._below(full)

    def _place_of_fd(self, fd: int) -> str | None:
        with contextlib.suppress(OSError):
            full = str(Path(f"/proc/self/fd/{fd}").readlink())
            return None if full.endswith(" (deleted)") else self._below(full)
        return None

    def _below(self, full: str) -> str | None:
        return full[len(self.root) :] if f"{full}/".startswith(self.root) else None

    def _on_fd(self, call: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def wrapped(fd: int, *args: Any) -> Any:
            place = self._place_of_fd(fd)
            if place is None:
                return call(fd, *args)
            data = bytes(args[0]) if kind == "write" else b""
            size = args[0] if kind == "truncate" else 0
            step = Step(kind, place, data=data, size=size)
            self.before(step, fd)
            result = call(fd, *args)
            assert kind != "write" or result == len(data)
            self.after(step)
            return result

        return wrapped

    def _on_name(self, call: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def wrapped(path: Any, *args: Any, **options: Any) -> Any:
            place = self._place(path, options.get("dir_fd"))
            exists = place is not None and os.path.lexists(self.root + place)
            if place is None or exists == (kind == "mkdir"):  # will fail: changes nothing
                return call(path, *args, **options)
            self.before(Step(kind, place), None)
            result = call(path, *args, **options)
            self.after(Step(kind, place))
            return result

        return wrapped

    def _on_names(self, call: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def wrapped(source: Any, path: Any, *args: Any, **options: Any) -> Any:
            place = self._place(path, options.get("dir_fd") or options.get("dst_dir_fd"))
            if place is None:
                return call(source, path, *args, **options)
            before = os.fsdecode(source) if kind == "symlink" else self._place(source)
            step = Step(kind, place, source=before or "")
            self.before(step, None)
            result = call(source, path, *args, **options)
            self.after(step)
            return result

        return wrapped


class KillAt(Watch):
    """Ends its process by SIGKILL at the n-th step."""

    def __init__(self, folder: Path, at: int) -> None:
        super().__init__(folder)
        self.left = at
        self.real_write = os.write

    def before(self, step: Step, fd: int | None) -> None:
        self.left -= 1
        if self.left == 0:
            if step.kind == "write" and fd is not None:
                self.real_write(fd, step.data[: len(step.data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)


class FailAt(Watch):
    """Makes the n-th step of some kinds fail; with a full disk, all later ones too."""

    def __init__(self, folder: Path, at: int, code: int) -> None:
        super().__init__(folder)
        self.left, self.code = at, code
        self.kinds = _NEEDS_SPACE if code == errno.ENOSPC else {"write", "fsync"}
        self.real_write = os.write

    def before(self, step: Step, fd: int | None) -> None:
        if step.kind not in self.kinds:
            return
        self.left -= 1
        if self.left == 0 or (self.left < 0 and self.code == errno.ENOSPC):
            if self.left == 0 and step.kind == "write" and fd is not None:
                self.real_write(fd, step.data[: len(step.data) // 2])
            raise OSError(self.code, os.strerror(self.code), step.path)


class Recorder(Watch):
    """Notes all steps, and what was told in between."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.steps: list[Step] = []

    def after(self, step: Step) -> None:
        self.steps.append(step)
