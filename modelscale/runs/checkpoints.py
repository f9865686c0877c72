"""Checkpoints on disk: folders of files that are accepted only if their manifest proves them.

A checkpoint is committed in one rename after all of it is durable, and read only after the
SHA-256 of every file was compared: neither safetensors nor any other format in use notices a
flipped bit or a zeroed page by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelscale.errors import DataError, InputMissing
from modelscale.runs import atomic

STATE = "state.safetensors"
_STEP_NAME = re.compile(r"step-(\d{6,18})")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MANIFEST_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Damage:
    """Why a checkpoint was passed over."""

    path: Path
    """The damaged checkpoint."""

    step: int
    """Its step."""

    reason: str
    """What is wrong with it."""

    def __str__(self) -> str:
        return f"{self.path}: damaged, going on from an earlier one: {self.reason}"


class CheckpointFiles(Mapping[str, bytes]):
    """The files of a checkpoint by name; read on use and compared with the manifest again."""

    def __init__(self, folder: Path, entries: Mapping[str, tuple[str, int]]) -> None:
        self._folder = folder
        self._entries = entries  # name -> (sha256, size in bytes)

    def __getitem__(self, name: str) -> bytes:
        sha256, size_bytes = self._entries[name]
        data = _read_regular(self._folder / name, size_bytes)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DataError(
                f"{self._folder / name}: damaged: its SHA-256 is not the manifest's"
            )
        return data

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint all of whose files were found to be what the manifest says."""

    path: Path
    """Its folder, links resolved."""

    step: int
    """Optimizer steps done."""

    files: Mapping[str, bytes] = field(repr=False)
    """Contents by file name, without the manifest; read when asked for."""

    sha256: str = ""
    """SHA-256 of the manifest: names this checkpoint's content."""

    passed_over: tuple[Damage, ...] = ()
    """Newer checkpoints that were damaged; worth a warning each."""


class CheckpointStore:
    """The checkpoints of one run, `step-000120` and so on, and the links to the chosen ones."""

    def __init__(self, folder: Path, *, owner: bool = False) -> None:
        """Open the store; its folder is made by the first `save`.

        Args:
            folder: Usually `checkpoints` in a run folder.
            owner: Whether the caller holds the run's lock: then leftovers of interrupted
                writes are deleted.
        """
        self.folder = folder
        self._damaged: set[int] = set()
        if owner:
            atomic.remove_leftovers(folder)

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, valid or not, smallest first."""
        try:
            names = [p.name for p in self.folder.iterdir() if p.is_dir() and not p.is_symlink()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(m.group(1)) for m in map(_STEP_NAME.fullmatch, names) if m)

    def path(self, step: int) -> Path:
        """Return where the checkpoint of `step` is or would be."""
        return self.folder / f"step-{step:06d}"

    def save(self, step: int, files: Mapping[str, bytes]) -> Path:
        """Write the checkpoint of `step` durably; one of the same content is left as it is.

        Args:
            step: Optimizer steps done, 0 or more.
            files: Contents by plain file name.

        Raises:
            StorageError: If the disk is full or broken; other checkpoints are untouched.
            CannotCreate: If the folder cannot be written to.
        """
        assert step >= 0
        assert all(_FILE_NAME.fullmatch(name) for name in files)
        path, facts = self.path(step), {"step": step}
        atomic.make_folder(self.folder)
        if path.exists():  # damaged, or left by a run that is being repeated
            if _holds(path, files, facts):
                atomic.fsync_folder(self.folder)  # its writer may have died before this
                return path
            atomic.retire_folder(path)
        atomic.commit_folder(self.folder, path.name, files, facts)
        self._damaged.discard(step)
        return path

    def newest_valid(self, required: Sequence[str] = (STATE,)) -> Checkpoint | None:
        """Return the newest checkpoint that is whole; None if there are no checkpoints at all.

        Args:
            required: Files that it must hold. One without them is passed over quietly: it was
                written for another purpose.

        Raises:
            DataError: If there are checkpoints, but none to go on from.
        """
        damages: list[Damage] = []
        steps = self.steps()
        for step in reversed(steps):
            try:
                found = read_checkpoint(self.path(step))
            except DataError as error:
                damages.append(Damage(self.path(step), step, str(error)))
                self._damaged.add(step)
                continue
            if all(name in found.files for name in required):
                return Checkpoint(
                    found.path, found.step, found.files, found.sha256, tuple(damages)
                )
        if not steps:
            return None
        faults = "; ".join(damage.reason for damage in damages) or (
            f"none of them holds {', '.join(required)}"
        )
        raise DataError(f"{self.folder}: no valid checkpoint to go on from: {faults}")

    def point(self, label: str, step: int) -> None:
        """Make the link `label` (`best`, `last`) lead to the checkpoint of `step`."""
        assert label in {"best", "last"}
        assert self.path(step).is_dir()
        link = self.folder / label
        atomic.replace_link(link, self.path(step).name)

    def pointed(self, label: str) -> int | None:
        """Return the step that the link `label` leads to; None if it leads nowhere."""
        with suppress(OSError):
            match = _STEP_NAME.fullmatch(str((self.folder / label).readlink()))
            if match and self.path(int(match.group(1))).is_dir():
                return int(match.group(1))
        return None

    def prune(self, keep: set[int] | frozenset[int] = frozenset(), newest: int = 2) -> None:
        """Delete checkpoints, but not those in `keep`, the `newest`, or what a link leads to.

        More than one is worth keeping: if the newest turns out to be damaged, the one before
        it goes on. Checkpoints that `newest_valid` found damaged do not count as newest.
        """
        steps = self.steps()
        sound = [step for step in steps if step not in self._damaged]
        linked = {self.pointed(label) for label in ("best", "last")}
        for step in steps:
            if step not in {*keep, *linked, *sound[max(0, len(sound) - newest) :]}:
                atomic.retire_folder(self.path(step))
                self._damaged.discard(step)


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint in the folder `path`, which may be a link, fully verified.

    Raises:
        InputMissing: If there is no such folder, or it has no manifest.
        DataError: If any file is missing, extra, or not what the manifest says.
    """
    if not path.is_dir():
        raise InputMissing(f"{path}: no such checkpoint folder")
    folder = path.resolve()
    manifest = folder / atomic.MANIFEST
    if not os.path.lexists(manifest):
        if _STEP_NAME.fullmatch(folder.name):
            raise DataError(f"{path}: damaged: it has no {atomic.MANIFEST}")
        raise InputMissing(f"{path}: not a checkpoint: it has no {atomic.MANIFEST}")
    data = _read_regular(manifest, None)
    step, entries = _parse_manifest(manifest, data)
    present = {inner.name for inner in folder.iterdir()} - {atomic.MANIFEST}
    for name in sorted(present ^ entries.keys()):
        fault = "is missing" if name in entries else "is not in the manifest"
        raise DataError(f"{path}: damaged: {name} {fault}")
    for name, (sha256, size_bytes) in entries.items():
        if _sha256_of(folder / name, size_bytes) != sha256:
            raise DataError(f"{folder / name}: damaged: its SHA-256 is not the manifest's")
    return Checkpoint(
        folder, step, CheckpointFiles(folder, entries), hashlib.sha256(data).hexdigest()
    )


def _parse_manifest(path: Path, data: bytes) -> tuple[int, dict[str, tuple[str, int]]]:
    """Return the step and the entries of a manifest whose own checksum is right."""
    try:
        content: dict[str, Any] = json.loads(data)
        checksum = content.pop("checksum")
        if hashlib.sha256(atomic.json_bytes(content)).hexdigest() != checksum:
            raise DataError(f"{path}: damaged: its checksum is not its content's")
        if content["schema_version"] > atomic.MANIFEST_VERSION:
            raise DataError(f"{path}: written by a newer version of modelscale")
        entries = {
            str(name): (str(entry["sha256"]), int(entry["size"]))
            for name, entry in content["files"].items()
        }
        step = int(content["step"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: damaged: not a manifest ({error})") from None
    for name in entries:
        if not _FILE_NAME.fullmatch(name):
            raise DataError(f"{path}: not accepted: {name!r} is not a plain file name")
    return step, entries


def _holds(path: Path, files: Mapping[str, bytes], facts: Mapping[str, int]) -> bool:
    """Return whether the checkpoint at `path` is valid and holds just these files."""
    with suppress(DataError, InputMissing):
        expected = hashlib.sha256(atomic.manifest_bytes(files, facts)).hexdigest()
        return read_checkpoint(path).sha256 == expected
    return False


def _open_regular(path: Path, size_bytes: int | None) -> int:
    """Return a descriptor of a regular file of the given size, never of a link or a pipe."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise DataError(f"{path}: damaged: {error.strerror}") from None
    status = os.fstat(fd)
    fault = None
    if not stat.S_ISREG(status.st_mode):
        fault = "not a regular file"
    elif size_bytes is None and status.st_size > _MANIFEST_MAX_BYTES:
        fault = f"{status.st_size} bytes are too many for a manifest"
    elif size_bytes is not None and status.st_size != size_bytes:
        fault = f"{status.st_size} bytes, the manifest says {size_bytes}"
    if fault:
        os.close(fd)
        raise DataError(f"{path}: damaged: {fault}")
    return fd


def _read_regular(path: Path, size_bytes: int | None) -> bytes:
    try:
        with open(_open_regular(path, size_bytes), "rb") as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _sha256_of(path: Path, size_bytes: int) -> str:
    try:
        with open(_open_regular(path, size_bytes), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
