"""An exported file and its certificate, which says by sha256 which file it is about."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelscale.errors import CannotCreate
from modelscale.runs.atomic import (
    fsync_folder,
    make_folder,
    storage_errors,
    write_file,
    write_json,
)

EXPORTS = "exports"
"""Folder beside `checkpoints/` for what is exported without another place being named."""
_SHA256 = "sha256"


def certificate_of(path: Path) -> Path:
    """Return where the certificate of an exported file is."""
    return path.with_name(f"{path.name}.json")


def check_place(path: Path) -> None:
    """Make the folder of a file to come, and refuse a place that it cannot have.

    Raises:
        CannotCreate: If there is a folder of its name, or its folder cannot be written to.
        StorageError: If the disk is full or broken.
    """
    if path.is_dir():
        raise CannotCreate(f"{path}: is a folder; name a file in it")
    make_folder(path.parent)
    if not os.access(path.parent, os.W_OK):
        raise CannotCreate(f"{path.parent}: cannot be written to")


def read_certificate(path: Path) -> dict[str, Any] | None:
    """Return the certificate of an exported file; None if it has none that is about it."""
    try:
        document = json.loads(certificate_of(path).read_bytes())
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get(_SHA256) != sha256:
        return None
    return document


def write_export(path: Path, data: bytes, facts: Mapping[str, Any]) -> None:
    """Write an exported file and its certificate, each whole or not at all.

    The certificate comes first: a file that a killed process left can then only be an older
    one, which the new certificate does not fit.

    Args:
        path: Of the file.
        data: Its content.
        facts: What the certificate says; it adds the sha256.

    Raises:
        CannotCreate: If the folder cannot be written to.
        StorageError: If the disk is full or broken; an older file is untouched.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    with _alone_in(path.parent):
        write_json(certificate_of(path), {**facts, _SHA256: sha256})
        write_file(path, data)


def make_durable(path: Path) -> None:
    """Make sure that a file found written stays so: its writer may have died before that."""
    with storage_errors(path):
        fsync_folder(path.parent)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process writes an export here; temporary names are shared."""
    with storage_errors(folder):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        except BaseException:
            os.close(fd)
            raise
    try:
        yield
    finally:
        os.close(fd)  # gives the lock back
