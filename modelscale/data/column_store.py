"""Columns of a table as they are converted: in memory, or in a file that is mapped."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, cast

from modelscale.errors import CannotCreate, StorageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


class ColumnStore:
    """Numbers (float64) and word codes (int32) of a table, column after column.

    On disk, each sort is one file of (columns, rows). It is written with plain writes, so
    that a full disk is an error rather than a crash, and has no name, so that nothing is left.
    """

    def __init__(self, numbers: int, codes: int, rows: int, spill: Path | None) -> None:
        import numpy as np

        self._rows = rows
        self._spill = spill
        self._files: dict[str, int] = {}
        self._arrays: dict[str, NDArray[np.generic]] = {}
        for sort, dtype, width in (("numbers", "<f8", numbers), ("codes", "<i4", codes)):
            if spill is None or width == 0:
                self._arrays[sort] = np.zeros((width, rows), dtype=dtype)
                continue
            try:
                descriptor, path = tempfile.mkstemp(dir=spill, prefix=".columns-")
            except OSError as error:
                raise CannotCreate(f"{spill}: {error.strerror}") from None
            os.truncate(descriptor, width * rows * np.dtype(dtype).itemsize)
            self._arrays[sort] = np.memmap(path, dtype=dtype, mode="r", shape=(width, rows))
            os.unlink(path)  # noqa: PTH108 (a name that lives for two lines)
            self._files[sort] = descriptor

    def put_numbers(self, column: int, start: int, value_N: NDArray[np.float64]) -> None:
        """Store a stretch of a numeric column."""
        self._put("numbers", column, start, value_N)

    def put_codes(self, column: int, start: int, code_N: NDArray[np.int32]) -> None:
        """Store a stretch of a text column."""
        self._put("codes", column, start, code_N)

    def numbers(self, column: int) -> NDArray[np.float64]:
        """Return a whole numeric column."""
        return cast("NDArray[np.float64]", self._arrays["numbers"][column])

    def codes(self, column: int) -> NDArray[np.int32]:
        """Return the codes of a whole text column."""
        return cast("NDArray[np.int32]", self._arrays["codes"][column])

    def close(self) -> None:
        """End writing; the columns stay readable."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _put(self, sort: str, column: int, start: int, values: NDArray[np.generic]) -> None:
        import numpy as np

        array = self._arrays[sort]
        if sort not in self._files:
            array[column, start : start + len(values)] = values
            return
        content = np.ascontiguousarray(values, dtype=array.dtype).tobytes()
        offset = (column * self._rows + start) * array.dtype.itemsize
        try:
            while content:
                written = os.pwrite(self._files[sort], content, offset)
                content, offset = content[written:], offset + written
        except OSError as error:
            raise StorageError(f"{self._spill}: {error.strerror}") from None
