"""Many small files as one: for each, a line with its size and name, then its content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscale.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return files by name as one block of bytes, in the mapping's order."""
    pieces = []
    for name, content in files.items():
        pieces += [f"{len(content)} {name}\n".encode(), content]
    return b"".join(pieces)


def unpacked(block: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file.

    Raises:
        DataError: If the block is not one that `packed` wrote.
    """
    start = 0
    while start < len(block):
        stop = block.find(b"\n", start)
        size, space, name = block[start : max(stop, start)].partition(b" ")
        if stop < 0 or not space or not size.isdigit() or stop + 1 + int(size) > len(block):
            raise DataError("packed files: damaged")
        start = stop + 1 + int(size)
        yield name.decode(), block[stop + 1 : start]
