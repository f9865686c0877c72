"""Files of folders and archives, whose names say what they are: `{digit}_{speaker}_{n}.wav`."""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from modelscale.data.reading import open_regular
from modelscale.data.recordings import SoundFile
from modelscale.data.sound_files import MAX_FILE_BYTES, is_sound
from modelscale.errors import DataError, InputMissing

if TYPE_CHECKING:
    from pathlib import Path

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
_FIELD = re.compile(r"\{([^{}]*)\}")
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")


def is_archive(path: Path) -> bool:
    """Return whether a file is named like an archive."""
    return path.name.lower().endswith(ARCHIVES)


class NamePattern:
    """A pattern of file names with fields in braces, such as `{digit}_{speaker}_{n}.wav`."""

    def __init__(self, pattern: str) -> None:
        """Read a pattern.

        Raises:
            ValueError: If a field has no proper name, or two have the same.
        """
        self.pattern = pattern
        self.fields: tuple[str, ...] = tuple(_FIELD.findall(pattern))
        for field in self.fields:
            if not _FIELD_NAME.fullmatch(field):
                raise ValueError(f"field {{{field}}} needs a name of small letters")
        if len(set(self.fields)) < len(self.fields):
            raise ValueError("two fields have the same name")
        parts = _FIELD.split(pattern)
        named = [
            f"(?P<{part}>[^/]+?)" if odd else re.escape(part)
            for part, odd in zip(parts, [False, True] * len(parts), strict=False)
        ]
        self._regex = re.compile("".join(named))
        self._whole = "/" in pattern

    def values(self, name: str) -> dict[str, str] | None:
        """Return the fields of a file's name; None where it is named otherwise.

        A pattern without a slash is of the name alone, wherever the file lies.
        """
        found = self._regex.fullmatch(name if self._whole else name.rpartition("/")[2])
        return None if found is None else found.groupdict()


def columns_of(
    names: Iterable[str], pattern: NamePattern, where: str
) -> Mapping[str, tuple[str, ...]]:
    """Return the fields of all names, by field.

    Raises:
        DataError: If a name does not follow the pattern.
    """
    rows = []
    for name in names:
        values = pattern.values(name)
        if values is None:
            raise DataError(f"{where}: {name}: is not named like {pattern.pattern}")
        rows.append(values)
    return {field: tuple(row[field] for row in rows) for field in pattern.fields}


def files_of(paths: Iterable[Path]) -> Iterator[SoundFile]:
    """Yield the recordings of folders (at any depth), archives and single files, in order.

    Files that are not named like recordings are passed over. Archives are read as streams:
    nothing is unpacked, and nothing is written.

    Raises:
        DataError: If there is none, or an archive is damaged or hostile.
        InputMissing: If a path is not there.
    """
    for path in paths:
        found = False
        for file in _files_in(path):
            found = True
            yield file
        if not found:
            raise DataError(f"{path}: holds no recordings")


def _files_in(path: Path) -> Iterator[SoundFile]:
    if not path.exists():
        raise InputMissing(f"{path}: No such file or directory")
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path).as_posix()
            hidden = any(part.startswith(".") for part in name.split("/"))
            if is_sound(name) and not hidden:
                yield SoundFile(str(file), name, content_of(file))
    elif path.name.lower().endswith(".zip"):
        yield from _zipped(path)
    elif is_archive(path):
        yield from _tarred(path)
    else:
        yield SoundFile(str(path), path.name, content_of(path))


def content_of(file: Path) -> bytes:
    """Return a file's bytes; one more than the most that are read where there are too many.

    Raises:
        InputMissing: If it is not there or cannot be read.
    """
    with open_regular(file) as stream:
        return stream.read(MAX_FILE_BYTES + 1)


def _tarred(path: Path) -> Iterator[SoundFile]:
    try:
        with open_regular(path) as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                if not is_sound(member.name) or _hidden(member.name):
                    continue
                place = f"{path}: {member.name}"
                if not member.isreg():
                    raise DataError(f"{place}: is no regular file")
                if member.size > MAX_FILE_BYTES:
                    raise DataError(f"{place}: larger than {MAX_FILE_BYTES:,} bytes")
                opened = archive.extractfile(member)
                assert opened is not None
                content = opened.read(MAX_FILE_BYTES + 1)
                yield SoundFile(place, _plain(member.name), content)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{path}: is no intact archive: {error}") from None


def _zipped(path: Path) -> Iterator[SoundFile]:
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            for member in sorted(archive.infolist(), key=lambda m: m.filename):
                if not is_sound(member.filename) or _hidden(member.filename):
                    continue
                place = f"{path}: {member.filename}"
                if member.file_size > MAX_FILE_BYTES:
                    raise DataError(f"{place}: larger than {MAX_FILE_BYTES:,} bytes")
                with archive.open(member) as opened:
                    content = opened.read(MAX_FILE_BYTES + 1)
                yield SoundFile(place, _plain(member.filename), content)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise DataError(f"{path}: is no intact archive: {error}") from None
    except NotImplementedError:
        raise DataError(f"{path}: is compressed in a way that is not supported") from None


def _hidden(name: str) -> bool:
    """Return whether a name is that of a hidden file, such as macOS adds beside each other."""
    return name.rpartition("/")[2].startswith(".")


def _plain(name: str) -> str:
    return name.removeprefix("./")
