"""Long texts as they are kept: one block of bytes, in memory or in a file that is mapped."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, overload

from modelscale.errors import CannotCreate, StorageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


class Documents(Sequence[str]):
    """Texts that are decoded as they are asked for.

    Attributes:
        content: UTF-8 bytes of all texts, one after the other; may be a memory map.
        end_N: (N,) int64 offset behind each text.
    """

    def __init__(self, content: NDArray[np.uint8], end_N: NDArray[np.int64]) -> None:
        self.content, self.end_N = content, end_N

    @classmethod
    def of(cls, texts: Iterable[str]) -> Documents:
        """Return texts as documents, in memory."""
        writer = DocumentWriter(None)
        writer.encode(list(texts))
        return writer.close()

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        place %= len(self)
        start = int(self.end_N[place - 1]) if place else 0
        return bytes(self.content[start : int(self.end_N[place])]).decode()

    def __len__(self) -> int:
        return len(self.end_N)


class DocumentWriter:
    """A column of long texts on its way, written in order."""

    overflown = False
    limit = None  # there may be as many different texts as rows

    def __init__(self, spill: Path | None) -> None:
        """Keep bytes in memory, or in a file without a name in the folder `spill`."""
        self._spill = spill
        self._pieces: list[bytes] = []
        self._ends: list[NDArray[np.int64]] = []
        self._size = self._count = 0
        self._file: int | None = None
        if spill is not None:
            try:
                self._file, path = tempfile.mkstemp(dir=spill, prefix=".texts-")
            except OSError as error:
                raise CannotCreate(f"{spill}: {error.strerror}") from None
            os.unlink(path)  # noqa: PTH108 (nothing is left behind, whatever happens)

    def encode(self, texts: Sequence[str | None]) -> NDArray[np.int32]:
        """Take the next texts; return the number of each, -1 where it is missing."""
        import numpy as np

        encoded = [text.encode() for text in texts if text is not None]
        end_N = self._size + np.cumsum([len(text) for text in encoded], dtype=np.int64)
        self._ends.append(end_N)
        self._write(b"".join(encoded))
        present_N = np.array([text is not None for text in texts], dtype=bool)
        code_N = np.full(len(texts), -1, dtype=np.int32)
        code_N[present_N] = np.arange(self._count, self._count + len(encoded), dtype=np.int32)
        self._count += len(encoded)
        return code_N

    def _write(self, content: bytes) -> None:
        self._size += len(content)
        if self._file is None:
            self._pieces.append(content)
            return
        try:
            while content:
                content = content[os.write(self._file, content) :]
        except OSError as error:
            raise StorageError(f"{self._spill}: {error.strerror}") from None

    def close(self) -> Documents:
        """End writing; return the texts."""
        import numpy as np

        none = np.zeros(0, dtype=np.int64)
        end_N = np.concatenate([none, *self._ends])
        held: bytes | mmap.mmap = b""
        if self._file is None:
            held = b"".join(self._pieces)
        elif self._size:  # nothing cannot be mapped
            held = mmap.mmap(self._file, self._size, access=mmap.ACCESS_READ)
        if self._file is not None:
            os.close(self._file)
        return Documents(np.frombuffer(held, dtype=np.uint8), end_N)
