"""Recordings of different lengths as one array: rows of samples, NaN behind the end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.data.resampling import resampled
from modelscale.data.sound_files import Channels, decode
from modelscale.data.storage import free_memory_bytes, open_array, write_array
from modelscale.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

MOST_SECONDS = 60
"""Longest recording that decides by itself how long all rows are."""


@dataclass(frozen=True)
class SoundFile:
    """A file that was read but not decoded.

    Attributes:
        place: Where it is, for messages.
        name: Its name inside the folder or archive.
        content: Its bytes.
    """

    place: str
    name: str
    content: bytes


@dataclass(frozen=True)
class SoundOptions:
    """How recordings become rows.

    Attributes:
        rate: Samples a second that all of them are brought to; None for the first one's,
            which all others must have too.
        seconds: Length of a row; longer recordings are cut. None for the longest one's.
        channels: What becomes of several channels.
    """

    rate: int | None
    seconds: float | None
    channels: Channels


@dataclass(frozen=True)
class Recordings:
    """Decoded recordings.

    Attributes:
        array_NS: (N, S) float32, full scale being 1, NaN behind each recording's end.
        rate: Samples a second.
        names: Of the files, inside their folder or archive.
        digest: sha256 of the files' names and contents.
    """

    array_NS: NDArray[np.generic]
    rate: int
    names: tuple[str, ...]
    digest: str


Files = Callable[[], Iterable[SoundFile]]


def read_recordings(files: Files, options: SoundOptions, spill: Path | None) -> Recordings:
    """Return recordings as an array, in memory or memory-mapped in the folder `spill`.

    Args:
        files: Gives all files, in order; called again where they do not fit into memory.
        options: How they become rows.
        spill: Folder for an array larger than memory; None keeps it in memory.

    Raises:
        DataError: Naming the file that is no intact recording, or that does not fit the others.
    """
    return _held(files, options) if spill is None else _spilled(files, options, spill)


def _held(files: Files, options: SoundOptions) -> Recordings:
    reader, kept, size = _Reader(options), [], 0
    largest = free_memory_bytes() // 3
    for samples_S in reader.sounds(files()):
        kept.append(samples_S)
        size += samples_S.nbytes
        if size > largest:
            raise DataError(
                f"{reader.names[-1]}: the recordings up to here fill a third of the free "
                "memory; say data.storage: disk"
            )
    array_NS = _rows(len(kept), reader.length())
    for row, samples_S in zip(array_NS, kept, strict=True):
        row[: len(samples_S)] = samples_S[: len(row)]
    return reader.finished(array_NS)


def _spilled(files: Files, options: SoundOptions, spill: Path) -> Recordings:
    first = _Reader(options)
    count = sum(1 for _ in first.sounds(files()))
    length, reader = first.length(), _Reader(options)

    def rows() -> Iterator[NDArray[np.float32]]:
        for samples_S in reader.sounds(files()):
            row_1S = _rows(1, length)
            row_1S[0, : len(samples_S)] = samples_S[:length]
            yield row_1S

    name = hashlib.sha256(f"{first.sha.hexdigest()}{options}".encode()).hexdigest()[:32]
    kept = spill / f"sounds-{name}.npy"
    write_array(kept, (count, length), "<f4", rows())
    if reader.sha.digest() != first.sha.digest():
        raise DataError(f"{reader.names[0]}: the recordings changed while they were read")
    return reader.finished(open_array(kept))


def _rows(count: int, length: int) -> NDArray[np.float32]:
    import numpy as np

    return np.full((count, length), np.nan, dtype=np.float32)


class _Reader:
    """Decodes files one after the other, and remembers what they have in common."""

    def __init__(self, options: SoundOptions) -> None:
        self.options = options
        self.rate = options.rate
        self.names: list[str] = []
        self.longest = 0
        self.sha = hashlib.sha256(repr(options).encode())

    def sounds(self, files: Iterable[SoundFile]) -> Iterator[NDArray[np.float32]]:
        """Yield each recording's samples (S,) at the common rate."""
        most = MOST_SECONDS if self.options.seconds is None else self.options.seconds
        for file in files:
            self.names.append(file.name)
            self.sha.update(f"{file.name}/{len(file.content)}\n".encode() + file.content)
            sound = decode(file.content, file.place, self.options.channels)
            self.rate = self.rate or sound.rate
            if sound.rate != self.rate and self.options.rate is None:
                raise DataError(
                    f"{file.place}: has {sound.rate:,} samples a second, the first recording "
                    f"{self.rate:,}; say to which to bring them: rate: {self.rate}"
                )
            seconds = len(sound.samples_S) / sound.rate
            if seconds > most and self.options.seconds is None:
                raise DataError(
                    f"{file.place}: is {seconds:.0f} seconds long; say how much of each "
                    "recording to take: seconds: 10"
                )
            # What will be cut off need not be resampled.
            needed_S = sound.samples_S[: int(most * sound.rate) + sound.rate]
            samples_S = resampled(needed_S, sound.rate, self.rate)
            self.longest = max(self.longest, len(samples_S))
            yield samples_S

    def length(self) -> int:
        """Return how many samples a row has."""
        assert self.rate is not None
        if self.options.seconds is None:
            return self.longest
        return max(1, round(self.options.seconds * self.rate))

    def finished(self, array_NS: NDArray[np.generic]) -> Recordings:
        assert self.rate is not None
        return Recordings(array_NS, self.rate, tuple(self.names), self.sha.hexdigest())
