"""Reading a spec's bytes safely, and turning them into text."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from pathlib import Path

from modelscale.errors import InputMissing, SpecError, nearest
from modelscale.spec.places import Fault, Origin

MAX_BYTES = 1 << 20
STDIN = Path("-")
_SUFFIXES = {".yaml", ".yml"}
# The rest of what YAML does not print is looked for as it is: a class of characters beyond
# Latin-1 takes milliseconds to compile.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_NO_CHARACTERS = ("\ufeff", "\ufffe", "\uffff")


def read(path: Path) -> bytes:
    """Return the bytes of a spec file; `-` reads the standard input.

    Raises:
        InputMissing: If it is not a regular file that can be read.
        SpecError: If it is longer than a spec can be.
    """
    data = _read_stdin() if path == STDIN else _read_file(path)
    if len(data) > MAX_BYTES:
        raise SpecError(f"{name_of(path)}:1:1: longer than 1 MiB, which no spec needs")
    return data


def name_of(path: Path) -> str:
    """Return how messages name a spec file."""
    return "<stdin>" if path == STDIN else str(path)


def text_of(data: bytes, name: str) -> str:
    """Return the text of a spec, which must be UTF-8 (a byte order mark is allowed).

    Raises:
        SpecError: Naming the first byte or character that is not allowed.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SpecError(f"{name}:1:1: UTF-16 text; save the file as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", errors="replace")
        message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise SpecError(str(Fault(_position(before, name), (), message))) from None
    control = _CONTROL.search(text)
    ends = [control.start()] if control else []
    ends += [text.index(character) for character in _NO_CHARACTERS if character in text]
    if ends:
        origin = _position(text[: min(ends)], name)
        message = f"control character {describe(text[min(ends)])} is not allowed"
        raise SpecError(str(Fault(origin, (), message)))
    return text


def describe(character: str) -> str:
    """Return a character's code point and name, such as `U+0000 (NUL)`."""
    code = ord(character)
    named = {0: "NUL", 7: "BEL", 8: "BACKSPACE", 27: "ESC", 0xFEFF: "BYTE ORDER MARK"}
    import unicodedata

    name = named.get(code) or unicodedata.name(character, "")
    return f"U+{code:04X} ({name})" if name else f"U+{code:04X}"


def _position(before: str, name: str) -> Origin:
    lines = before.split("\n")
    return Origin(name, len(lines), len(lines[-1]) + 1)


def _read_stdin() -> bytes:
    if sys.stdin is None or sys.stdin.closed:
        raise InputMissing("-: the standard input is closed")
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def _read_file(path: Path) -> bytes:
    try:
        # Without O_NONBLOCK, opening a FIFO that nobody writes to waits for ever.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise InputMissing(f"{path}: {_why(path, error)}") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        folder = "is a folder; name a YAML file in it"
        other = "not a regular file; use '-' to read the standard input"
        raise InputMissing(f"{path}: {folder if stat.S_ISDIR(mode) else other}")
    with os.fdopen(handle, "rb") as file:
        try:
            return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InputMissing(f"{path}: cannot be read ({error.strerror})") from None


def _why(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return "not a file name (it holds a NUL character)"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        try:
            near = {p.stem: p.name for p in path.parent.iterdir() if p.suffix in _SUFFIXES}
        except OSError:
            return f"no such file (there is no folder {path.parent})"
        close = nearest(path.stem, near)
        return "no such file" + (f"; did you mean {near[close]!r}?" if close else "")
    return f"cannot be read ({error.strerror})"
