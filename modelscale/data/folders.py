"""Folders of class folders, as images, texts and recordings come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.errors import DataError, InputMissing

if TYPE_CHECKING:
    from pathlib import Path


def class_files(path: Path) -> tuple[tuple[str, ...], list[tuple[int, Path]]]:
    """Return the class names, and each file with its class; hidden files do not count.

    Raises:
        DataError: If a file lies beside the folders, or a folder is empty.
        InputMissing: If the folder cannot be read.
    """
    try:
        entries = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputMissing(f"{path}: {reason}") from None
    for entry in entries:
        if not entry.is_dir():
            raise DataError(f"{entry}: lies beside the class folders; move it into one")
    if not entries:
        raise DataError(f"{path}: has no class folders")
    files: list[tuple[int, Path]] = []
    for label, folder in enumerate(entries):
        images = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        if not images:
            raise DataError(f"{folder}: the class folder is empty")
        files += [(label, image) for image in images]
    return tuple(entry.name for entry in entries), files
