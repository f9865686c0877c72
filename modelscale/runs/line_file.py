"""A file of lines that grows by whole lines and survives being cut off anywhere."""

from __future__ import annotations

import json
import os
import time
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelscale.errors import DataError, StorageError
from modelscale.runs import atomic

_SYNC_EVERY_S = 1.0
_READ_BYTES = 1 << 20


class LineFile:
    """JSON lines, appended one write(2) each.

    A written line survives the death of the process at once, and a power loss after at most a
    second or the next `sync`. A line that was cut off is moved to `<name>.torn` when the file
    is opened, so that no byte is ever lost.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file and cut off what is not a whole line.

        Raises:
            CannotCreate: If it cannot be written to.
            StorageError: If the disk is full or broken.
        """
        self.path = path
        self.bad_line: int | None = None
        """Index of the first line that is not a JSON object; None if all are."""

        self._starts = array("Q")  # where each line starts, in bytes
        self._end = 0
        self._synced_s = time.monotonic()
        self._dirty = self._unnamed = True  # whoever wrote before may have died before a sync
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with atomic.storage_errors(path):
            self._fd = os.open(path, flags, 0o666)
            try:
                self._scan()
            except BaseException:
                self._give_up()
                raise

    def __len__(self) -> int:
        """Return how many whole lines there are."""
        return len(self._starts)

    def line(self, index: int) -> bytes:
        """Return a line without its end."""
        start, end = self._start(index), self._start(index + 1)
        return os.pread(self._fd, end - start, start)[:-1]

    def append(self, line: bytes) -> None:
        """Add a line, given without its end.

        Raises:
            StorageError: If the disk is full or broken; then the file ends with the line
                before, and takes no more.
        """
        assert b"\n" not in line
        if self._fd < 0:
            raise StorageError(f"{self.path}: closed after an error or by its owner")
        try:
            atomic.write_all(self._fd, line + b"\n")
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._fd, self._end)
            self._give_up()
            raise atomic.storage_error(error, self.path, len(line) + 1) from error
        self._starts.append(self._end)
        self._end += len(line) + 1
        self._dirty = True
        if time.monotonic() - self._synced_s >= _SYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Make all lines durable.

        Raises:
            StorageError: If that failed; the file takes no more lines, because the kernel
                forgets after one failure which pages were not written.
        """
        if self._fd < 0 or not self._dirty:
            return
        try:
            getattr(os, "fdatasync", os.fsync)(self._fd)  # macOS has no fdatasync
            if self._unnamed:
                atomic.fsync_folder(self.path.parent)
        except OSError as error:
            self._give_up()
            raise atomic.storage_error(error, self.path) from error
        self._synced_s = time.monotonic()
        self._dirty = self._unnamed = False

    def cut(self, index: int) -> None:
        """Take away the lines from `index` on; their bytes go to `<name>.torn`."""
        if index < len(self):
            with atomic.storage_errors(self.path):
                self._cut_bytes(self._start(index), os.fstat(self._fd).st_size)

    def close(self) -> None:
        """Make all lines durable and close the file; again is fine."""
        try:
            self.sync()
        finally:
            self._give_up()

    def _give_up(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _start(self, index: int) -> int:
        return self._starts[index] if index < len(self._starts) else self._end

    def _scan(self) -> None:
        """Find the lines, and cut off the last if it is not whole."""
        start, rest = 0, b""
        while block := os.pread(self._fd, _READ_BYTES, start + len(rest)):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if self.bad_line is None and parse_line(line) is None:
                    self.bad_line = len(self._starts)
                self._starts.append(start)
                start += len(line) + 1
        self._end = start
        cut_from = start
        if self.bad_line is not None and self.bad_line == len(self._starts) - 1:
            cut_from = self._starts[-1]  # the last line came through in part
        if cut_from < start + len(rest):
            self._cut_bytes(cut_from, start + len(rest))

    def _cut_bytes(self, start: int, end: int) -> None:
        torn = self.path.with_name(f"{self.path.name}.torn")
        fd = os.open(torn, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            position = start
            while block := os.pread(self._fd, min(_READ_BYTES, end - position), position):
                atomic.write_all(fd, block)
                position += len(block)
            atomic.write_all(fd, b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        atomic.fsync_folder(self.path.parent)
        os.ftruncate(self._fd, start)
        os.fsync(self._fd)
        while self._starts and self._starts[-1] >= start:
            self._starts.pop()
        self._end = start
        if self.bad_line is not None and self.bad_line >= len(self._starts):
            self.bad_line = None


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a line; None if it is not one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines, without a last one that is cut off.

    The file may be growing. A file that is not there has no records.

    Raises:
        DataError: If a line in the middle is not a JSON object; says which.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    whole = len(lines) - 1  # what follows the last line end is empty or torn
    records: list[dict[str, Any]] = []
    for index, line in enumerate(lines[:whole]):
        record = parse_line(line)
        if record is not None:
            records.append(record)
        elif index < whole - 1:
            raise garbage(path, index)
    return records


def garbage(path: Path, index: int) -> DataError:
    """Return the error about the line `index` (from 0) of a file of JSON lines."""
    return DataError(f"{path}:{index + 1}: damaged: not a JSON object")
