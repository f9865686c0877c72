"""Folders of class folders, as images, texts and recordings come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.errors import DataError, InputMissing

if TYPE_CHECKING:
    from pathlib import Path

_OF_THE_SYSTEM = ("Thumbs.db", "desktop.ini", "__MACOSX")
"""What Windows and archivers leave in folders unasked; macOS's own files are hidden ones."""


def class_files(path: Path) -> tuple[tuple[str, ...], list[tuple[int, Path]]]:
    """Return the class names, and each file with its class.

    Hidden files do not count, nor do those that operating systems leave there.

    Raises:
        DataError: If a file lies beside the folders, or a folder is empty or holds another one.
        InputMissing: If the folder cannot be read.
    """
    entries = _entries(path)
    for entry in entries:
        if not entry.is_dir():
            raise DataError(f"{entry}: lies beside the class folders; move it into one")
    if not entries:
        raise DataError(f"{path}: has no class folders")
    files: list[tuple[int, Path]] = []
    for label, folder in enumerate(entries):
        found = _entries(folder)
        if not found:
            raise DataError(f"{folder}: the class folder is empty")
        for file in found:
            if file.is_dir():
                raise DataError(
                    f"{file}: is a folder within the class folder {folder.name!r}; if that is "
                    f"a part such as train or test, the path is {folder}"
                )
        files += [(label, file) for file in found]
    return tuple(entry.name for entry in entries), files


def unlabelled_files(path: Path) -> list[Path]:
    """Return a file by itself, or all files of a folder and of the folders in it, by name.

    Raises:
        DataError: If there is none.
        InputMissing: If the folder cannot be read.
    """
    if not path.is_dir():
        return [path]
    files: list[Path] = []
    for entry in _entries(path):
        files += _entries(entry) if entry.is_dir() else [entry]
    if not files:
        raise DataError(f"{path}: has no files")
    return files


def _entries(path: Path) -> list[Path]:
    try:
        return sorted(
            p for p in path.iterdir() if p.name[0] != "." and p.name not in _OF_THE_SYSTEM
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputMissing(f"{path}: {reason}") from None
