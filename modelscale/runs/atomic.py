"""Files and folders that exist whole or not at all, also after a power loss.

Everything is written to a temporary name in the same folder, fsynced and renamed, and then the
folder itself is fsynced, since a rename is only durable with the folder that holds it. All
writes of `runs/` go through `os` (or `pathlib`, which calls `os`), one call for each step, so
that a test can stop a process at any of them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from modelscale.errors import CannotCreate, ModelscaleError, StorageError

PART = ".part"
MANIFEST = "MANIFEST.json"
MANIFEST_VERSION = 1
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENOENT,
    errno.ENAMETOOLONG,
}


def write_file(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, durably; no reader ever sees a part of it.

    Raises:
        StorageError: If the disk is full or broken; the old file is untouched.
        CannotCreate: If the folder is read-only, missing or a file.
    """
    part = _part_of(path)
    with storage_errors(path, need_bytes=len(data)):
        try:
            write_new(part, data)
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as strict JSON, durably; numbers that are not finite become null."""
    write_file(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return `value` as strict, indented JSON; numbers that are not finite become null."""
    text = json.dumps(without_nonfinite(value), allow_nan=False, ensure_ascii=False, indent=2)
    return encode_json(text) + b"\n"


def encode_json(text: str) -> bytes:
    r"""Return JSON text in UTF-8; a lone surrogate becomes its JSON escape (`\ud800`)."""
    return text.encode("utf-8", "backslashreplace")


def without_nonfinite(value: Any) -> Any:
    """Return `value` with None in place of every NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): without_nonfinite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nonfinite(inner) for inner in value]
    return value


def replace_link(path: Path, target: str) -> None:
    """Make `path` a relative symbolic link to `target`, replacing the old link in one step.

    Raises:
        CannotCreate: If something that is not a link has the name, or links are impossible.
        StorageError: If the disk is full or broken.
    """
    if path.exists() and not path.is_symlink():
        raise CannotCreate(f"{path}: in the way: it is not a link")
    part = _part_of(path)
    with storage_errors(path):
        part.unlink(missing_ok=True)
        try:
            part.symlink_to(target)
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def commit_folder(
    parent: Path,
    name: str,
    files: Mapping[str, bytes],
    facts: Mapping[str, int | str] | None = None,
) -> Path:
    """Write a new folder of files and its manifest, durably and all at once.

    Args:
        parent: The folder that gets the new one; it must exist.
        name: Name of the new folder, not yet taken.
        files: Contents by plain file name.
        facts: More to be said, and protected, in the manifest.

    Raises:
        StorageError: If the disk is full or broken; nothing stays behind.
        CannotCreate: If `parent` cannot be written to or the name is taken.
    """
    return place_folder(parent, name, {**files, MANIFEST: manifest_bytes(files, facts or {})})


def place_folder(parent: Path, name: str, files: Mapping[str, bytes]) -> Path:
    """Write a new folder of files, in the given order, durably and all at once.

    Raises:
        StorageError: If the disk is full or broken; nothing stays behind.
        CannotCreate: If `parent` cannot be written to or the name is taken.
    """
    part = _part_of(parent / name)
    with storage_errors(parent / name, need_bytes=sum(map(len, files.values()))):
        remove_tree(part)
        try:
            part.mkdir()
            for file_name, data in files.items():
                write_new(part / file_name, data)
            fsync_folder(part)
            part.rename(parent / name)
        except BaseException:
            with suppress(OSError):
                remove_tree(part)
            raise
        fsync_folder(parent)
    return parent / name


def manifest_bytes(files: Mapping[str, bytes], facts: Mapping[str, int | str]) -> bytes:
    """Return the manifest of `files`: size and SHA-256 of each, and a checksum of itself."""
    entries = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in sorted(files.items())
    }
    content = {"schema_version": MANIFEST_VERSION, **facts, "files": entries}
    return json_bytes({**content, "checksum": hashlib.sha256(json_bytes(content)).hexdigest()})


def write_new(path: Path, data: bytes) -> None:
    """Write and fsync a file in place, replacing a leftover; for folders not yet visible."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o666)
    except FileExistsError:
        path.unlink()
        fd = os.open(path, flags, 0o666)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; the kernel may take it in several bites."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, durably; one that exists is fine.

    Raises:
        CannotCreate: If a file is in the way or a parent is read-only.
        StorageError: If the disk is full or broken.
    """
    if not path.is_dir():
        if not path.parent.is_dir():
            make_folder(path.parent)
        with storage_errors(path):
            path.mkdir(exist_ok=True)
    with storage_errors(path):
        fsync_folder(path.parent)  # also if it exists: its maker may have died before this


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise  # some network file systems cannot do this, and need not
    finally:
        os.close(fd)


def remove_tree(path: Path) -> None:
    """Delete a file, a link (never what it points to) or a folder with all it holds."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        path.unlink()
        return
    for inner in sorted(path.iterdir()):
        remove_tree(inner)
    path.rmdir()


def retire_folder(path: Path) -> None:
    """Delete a folder such that a reader sees it whole or not at all, also after a crash."""
    part = _part_of(path)
    with storage_errors(path):
        remove_tree(part)
        path.rename(part)
        try:
            fsync_folder(path.parent)  # else a crash could undo the rename, not the deletions
        except OSError:
            with suppress(OSError):
                part.rename(path)
            raise
        remove_tree(part)


def remove_leftovers(folder: Path) -> None:
    """Delete what interrupted writes left in a folder; only its lock's holder may call this."""
    if not folder.is_dir():
        return
    with storage_errors(folder):
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") and path.name.endswith(PART):
                remove_tree(path)


@contextmanager
def storage_errors(path: Path, need_bytes: int = 0) -> Iterator[None]:
    """Turn an `OSError` about `path` into the error, with exit code, that a user should see."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, need_bytes) from error


def storage_error(error: OSError, path: Path, need_bytes: int = 0) -> ModelscaleError:
    """Return what to tell the user about a failed write to `path`."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        cause = "" if error.errno == errno.ENOSPC else f" ({reason})"
        need = f"need {size_text(need_bytes)}, " if need_bytes else ""
        return StorageError(f"disk full{cause}: {need}free {_free_text(path)}, at {path}")
    if error.errno in _REFUSED:
        return CannotCreate(f"{path}: cannot create: {reason}")
    return StorageError(f"{path}: cannot write: {reason}")


def size_text(size_bytes: float) -> str:
    """Return a size as people read it, such as `3.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def _free_text(path: Path) -> str:
    for folder in path.parents:
        with suppress(OSError):
            usage = os.statvfs(folder)
            return size_text(usage.f_bavail * usage.f_frsize)
    return "unknown"


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}{PART}")
