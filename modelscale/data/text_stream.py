"""A text file as one long row of symbols, of which windows are the examples."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Literal, cast

from modelscale.data.raw import Raw
from modelscale.data.reading import open_regular
from modelscale.data.storage import free_memory_bytes
from modelscale.data.vocabulary import Vocabulary
from modelscale.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

CHUNK_BYTES = 1 << 20
BYTES_A_SYMBOL = 8  # four in the stream, and twice that while it is put together


def read_stream(
    path: Path,
    unit: Literal["characters", "words"],
    lowercase: bool,
    length: int,
    stride: int | None,
) -> Raw:
    """Return the windows of a text file; they share the memory of its symbols.

    Args:
        path: The file.
        unit: What a symbol is.
        lowercase: Whether capitals count as their small letters.
        length: Symbols that are predicted in a window, which holds one more in front.
        stride: From the beginning of a window to that of the next; None for `length`.

    Raises:
        DataError: If it is not UTF-8, too large, or shorter than a window.
        InputMissing: If it is not there.
    """
    import numpy as np

    split = Vocabulary(unit=unit, lowercase=lowercase, punctuation=True, lines=True, symbols=())
    sha = hashlib.sha256()
    known: dict[str, int] = {}
    pieces = []
    for text in _pieces(path, sha, whole_lines=unit == "words"):
        symbols = split.split(text)
        for symbol in symbols:
            if symbol not in known:
                known[symbol] = len(known)
        pieces.append(np.fromiter(map(known.__getitem__, symbols), np.int32, len(symbols)))
    stream_L = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int32)
    del pieces
    if len(stream_L) <= length:
        raise DataError(
            f"{path}: has {len(stream_L):,} {unit}; a window takes {length + 1:,}, one more "
            "than data.source.length"
        )
    windows_NT = np.lib.stride_tricks.sliding_window_view(stream_L, length + 1)
    windows_NT = windows_NT[:: stride or length]
    start_N = np.arange(len(windows_NT), dtype=np.float64) * (stride or length)
    return Raw(
        target=np.zeros(len(windows_NT)),
        target_names=("nats",),
        fingerprint=sha.hexdigest(),
        origin=str(path),
        array=cast("NDArray[np.generic]", windows_NT),
        times=start_N,
        vocabulary=len(known),
        symbols=Vocabulary(
            unit=unit, lowercase=lowercase, punctuation=True, lines=True, symbols=tuple(known)
        ),
    )


def _pieces(path: Path, sha: hashlib._Hash, *, whole_lines: bool) -> Iterator[str]:
    """Yield the text in pieces, which end where a line does if no word is to be cut."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest, size = "", 0
    largest = free_memory_bytes() // 2 // BYTES_A_SYMBOL
    with open_regular(path) as stream:
        opened = cast(IO[bytes], gzip.GzipFile(fileobj=stream)) if _zipped(path) else stream
        while True:
            try:
                chunk = opened.read(CHUNK_BYTES)
                text = rest + decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                raise DataError(f"{path}: is not UTF-8 after {size:,} bytes") from None
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{path}: cannot be read: {error}") from None
            sha.update(chunk)
            size += len(chunk)
            if size > largest:
                raise DataError(f"{path}: more text than half of the free memory can hold")
            if "\0" in text:
                raise DataError(f"{path}: has NUL bytes, as no text has")
            if not chunk:
                yield text
                return
            cut = text.rfind("\n") + 1 if whole_lines else len(text)
            yield text[:cut]
            rest = text[cut:]


def _zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"
