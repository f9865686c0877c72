"""Files of recordings, decoded strictly: known formats, capped size, nothing half read."""

from __future__ import annotations

import io
import struct
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from modelscale.errors import DataError, missing_extra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PLAIN = (".wav",)
FORMATS = (*PLAIN, ".flac", ".ogg", ".aiff", ".aif")
MAX_FILE_BYTES = 256 << 20
RATES = (1_000, 384_000)
_PCM, _EXTENSIBLE = 1, 0xFFFE

Channels = Literal["one", "mix", "first"]


@dataclass(frozen=True)
class Sound:
    """A recording.

    Attributes:
        samples_S: (S,) float32, full scale being 1.
        rate: Samples a second.
    """

    samples_S: NDArray[np.float32]
    rate: int


def is_sound(name: str) -> bool:
    """Return whether a file is named like a recording."""
    return name.lower().endswith(FORMATS)


def decode(content: bytes, name: str, channels: Channels) -> Sound:
    """Return the recording of a file.

    Whole-number WAV is read by Python itself, everything else by the extra `audio`.

    Args:
        content: The file's bytes.
        name: For messages, and for its ending.
        channels: What becomes of several channels: refused, averaged, or the first one alone.

    Raises:
        DataError: If it is no intact recording, is empty, or has several channels.
        Unavailable: If it needs an extra that is not installed.
    """
    if len(content) > MAX_FILE_BYTES:
        raise DataError(f"{name}: larger than {MAX_FILE_BYTES:,} bytes")
    if not is_sound(name):
        raise DataError(f"{name}: is not named like a recording ({', '.join(FORMATS)})")
    if name.lower().endswith(PLAIN) and _whole_numbers(content, name):
        samples_SC, rate = _by_wave(content, name)
    else:
        samples_SC, rate = _by_soundfile(content, name)
    if not RATES[0] <= rate <= RATES[1]:
        raise DataError(
            f"{name}: has {rate:,} samples a second; {RATES[0]:,} to {RATES[1]:,} do"
        )
    if len(samples_SC) == 0:
        raise DataError(f"{name}: has no samples")
    if samples_SC.shape[1] > 1 and channels == "one":
        raise DataError(
            f"{name}: has {samples_SC.shape[1]} channels; say which to take: channels: mix, or "
            "channels: first"
        )
    mixed_S = samples_SC.mean(axis=1) if channels == "mix" else samples_SC[:, 0]
    return Sound(mixed_S.astype("float32"), rate)


def _whole_numbers(content: bytes, name: str) -> bool:
    """Return whether a WAV file holds plain whole numbers (PCM), as nearly all do."""
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise DataError(f"{name}: is no WAV file")
    place = 12
    while place + 8 <= len(content):
        kind, size = content[place : place + 4], struct.unpack_from("<I", content, place + 4)[0]
        if kind == b"fmt " and place + 24 <= len(content):
            return bool(struct.unpack_from("<H", content, place + 8)[0] == _PCM)
        place += 8 + size + size % 2
    raise DataError(f"{name}: is damaged: the WAV file does not say how it is written")


def _by_wave(content: bytes, name: str) -> tuple[NDArray[np.float32], int]:
    """Return (S, C) samples and the rate of a WAV file of whole numbers."""
    import numpy as np

    try:
        with wave.open(io.BytesIO(content)) as file:
            count, width, channels = file.getnframes(), file.getsampwidth(), file.getnchannels()
            rate, data = file.getframerate(), file.readframes(count)
    except (wave.Error, EOFError, struct.error, ValueError, RuntimeError) as error:
        raise DataError(f"{name}: is damaged: {error or 'it ends too early'}") from None
    if channels < 1 or width not in (1, 2, 3, 4):
        raise DataError(f"{name}: is damaged: {channels} channels of {width} bytes a sample")
    if len(data) != count * width * channels:
        held = len(data) // (width * channels)
        raise DataError(f"{name}: is cut off: holds {held:,} of {count:,} samples")
    if width == 1:
        whole = np.frombuffer(data, dtype=np.uint8).astype(np.float32) - 128
    elif width == 3:
        byte_N3 = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3).astype(np.int32)
        whole = (byte_N3 << np.array([8, 16, 24], dtype=np.int32)).sum(1, dtype=np.int32) >> 8
    else:
        whole = np.frombuffer(data, dtype=f"<i{width}")
    scaled = (whole / 2.0 ** (8 * width - 1)).astype(np.float32)
    return scaled.reshape(-1, channels), rate


def _by_soundfile(content: bytes, name: str) -> tuple[NDArray[np.float32], int]:
    """Return (S, C) samples and the rate of any other file."""
    import numpy as np

    try:
        import soundfile
    except (ImportError, OSError):  # the package, or the library that it needs
        raise missing_extra("soundfile", "audio", f"reading {name}") from None
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.frames * file.channels * 4 > 16 * MAX_FILE_BYTES:
                raise DataError(f"{name}: {file.frames:,} samples are too many")
            samples_SC = file.read(dtype="float32", always_2d=True)
            count, rate = file.frames, int(file.samplerate)
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        reason = str(error).split(": ")[-1].strip()
        raise DataError(f"{name}: is no intact recording: {reason}") from None
    if len(samples_SC) != count:
        raise DataError(f"{name}: is cut off: holds {len(samples_SC):,} of {count:,} samples")
    if not np.isfinite(samples_SC).all():
        raise DataError(f"{name}: has samples that are not finite numbers")
    return samples_SC, rate
