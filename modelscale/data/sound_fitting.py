"""Fitting the pre-processing of recordings, and of what is said in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelscale.data.audio_section import AudioSection, TranscriptSection
from modelscale.data.raw import Texts
from modelscale.data.spectra import Spectra
from modelscale.data.targets import as_text
from modelscale.data.vocabulary import FIRST, PADDING, UNKNOWN, Vocabulary, counted
from modelscale.errors import DataError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.raw import Raw
    from modelscale.data.section import DataSection

_CHUNK_VALUES = 4_000_000


def fit_spectra(
    raw: Raw, train: NDArray[np.int64], section: DataSection, common: dict[str, Any]
) -> Preprocessing:
    """Return the pre-processing of recordings: spectra, each band scaled.

    Args:
        raw: All recordings.
        train: Rows to fit on.
        section: What is to be done.
        common: Fields that any pre-processing has.

    Raises:
        SpecError: If such recordings have no such spectra.
    """
    from modelscale.data.preprocessing import Channel, Preprocessing

    assert raw.array is not None
    spectra = spectra_of(section.audio or AudioSection(), raw)
    plain = Preprocessing.model_validate(
        common
        | {
            "form": "audio",
            "shape": (max(int(raw.array.shape[1]), spectra.window),),
            "spectra": spectra,
            "channels": (Channel(mean=0.0, scale=1.0),) * spectra.bands,
        }
    )
    if not section.standardize:
        return plain
    means, deviations = _moments(plain, raw, train)
    channels = [
        Channel(mean=float(mean), scale=float(deviation) if deviation > 1e-6 else 1.0)
        for mean, deviation in zip(means, deviations, strict=True)
    ]
    return plain.model_copy(update={"channels": tuple(channels)})


def spectra_of(how: AudioSection, raw: Raw) -> Spectra:
    """Return the spectra that a section asks for, in samples.

    Raises:
        SpecError: If the recordings' rate does not allow them.
    """
    assert raw.rate is not None
    high_hz = raw.rate / 2 if how.high_hz is None else how.high_hz
    if high_hz > raw.rate / 2:
        raise SpecError(
            f"data.audio.high_hz: {high_hz:g} is above half the rate of {raw.rate:,} samples a "
            "second"
        )
    if how.low_hz >= high_hz:
        raise SpecError(f"data.audio.low_hz: {how.low_hz:g} is not below {high_hz:g}")
    window, step = (round(ms * raw.rate / 1000) for ms in (how.window_ms, how.step_ms))
    if window < 2 or step < 1:
        raise SpecError(f"data.audio.window_ms: too short at {raw.rate:,} samples a second")
    spectra = Spectra(
        rate=raw.rate,
        window=window,
        step=step,
        bands=how.bands,
        low_hz=how.low_hz,
        high_hz=high_hz,
        scale=how.scale,
        floor=how.floor,
        remove_mean=how.remove_mean,
        raise_to_db=how.raise_to_db,
    )
    _refuse_empty_bands(spectra)
    return spectra


def _refuse_empty_bands(spectra: Spectra) -> None:
    """Refuse bands so narrow that no frequency of the transform is in them."""
    from modelscale.data.mel import mel_filters

    empty = int((mel_filters(spectra).sum(dim=1) == 0).sum())
    if empty:
        raise SpecError(
            f"data.audio.bands: {empty} of {spectra.bands} bands are narrower than what a "
            f"window of {1000 * spectra.window / spectra.rate:g} ms tells apart; take fewer"
        )


def _moments(
    plain: Preprocessing, raw: Raw, train: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation of each band over the training recordings' own frames."""
    import numpy as np
    import torch

    assert raw.array is not None
    module = plain.module()
    bands = plain.spectra.bands if plain.spectra else 0
    total_B, square_B, count = np.zeros(bands), np.zeros(bands), 0.0
    step = max(1, _CHUNK_VALUES // plain.shape[0])
    for start in range(0, len(train), step):
        rows = train[start : start + step]
        chunk = sound_rows(plain.shape[0], raw.array[rows])
        with torch.no_grad():
            x_NBT = module(torch.from_numpy(chunk)).squeeze(1).double()
        held_NT = (x_NBT != 0).any(dim=1)
        count += float(held_NT.sum())
        total_B += x_NBT.sum((0, 2)).numpy()
        square_B += x_NBT.square().sum((0, 2)).numpy()
    mean_B = total_B / max(1.0, count)
    return mean_B, np.sqrt(np.maximum(square_B / max(1.0, count) - mean_B**2, 0))


def sound_rows(length: int, array_NS: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return recordings cut or padded with NaN to `length` samples."""
    import numpy as np

    rows = np.full((len(array_NS), length), np.nan, dtype=np.float32)
    held = min(length, array_NS.shape[1])
    rows[:, :held] = array_NS[:, :held]
    return rows


def said(raw: Raw) -> Iterator[str]:
    """Yield what is said in each recording.

    Raises:
        DataError: If there is no target that says it.
    """
    target = raw.target
    if target is None:
        raise DataError(f"{raw.origin}: no target says what is said")
    if isinstance(target, Texts):
        for code in target.codes_N.tolist():
            yield target.words[code] if code >= 0 else ""
        return
    if target.ndim > 1:
        raise DataError(f"{raw.origin}: a transcription needs one target column")
    for value in target.tolist():
        yield as_text(value)


def fit_transcript(raw: Raw, train: NDArray[np.int64], section: DataSection) -> Vocabulary:
    """Return the symbols of what is said in the training rows.

    Number 0 is the blank of CTC, 1 what is not known, symbol i has the number i + 2.
    """
    how = section.transcript or TranscriptSection()
    plain = Vocabulary(unit=how.unit, lowercase=how.lowercase, symbols=())
    texts = list(said(raw))
    symbols = counted((split(plain, texts[row]) for row in train.tolist()), 1 << 15, 1)
    if not symbols:
        raise DataError(f"{raw.origin}: nothing is said in any training row")
    return plain.model_copy(update={"symbols": symbols})


def split(symbols: Vocabulary, text: str) -> list[str]:
    """Return the symbols of what is said: characters with single blanks, or words."""
    words = (text.lower() if symbols.lowercase else text).split()
    return words if symbols.unit == "words" else list(" ".join(words))


def encode_said(symbols: Vocabulary, raw: Raw) -> NDArray[np.int64]:
    """Return (N, L) numbers of the symbols of what is said, 0 behind the end."""
    import numpy as np

    known = {symbol: number for number, symbol in enumerate(symbols.symbols, FIRST)}
    rows = [[known.get(s, UNKNOWN) for s in split(symbols, text)] for text in said(raw)]
    encoded = np.full((len(rows), max(1, *map(len, rows))), PADDING, dtype=np.int64)
    for place, numbers in enumerate(rows):
        encoded[place, : len(numbers)] = numbers
    return encoded


def letters_of(symbols: Vocabulary) -> NDArray[np.int64]:
    """Return (V, M) code points of each number's text, 0 behind its end; none of the blank."""
    import numpy as np

    end = " " if symbols.unit == "words" else ""
    texts = ["", "\N{REPLACEMENT CHARACTER}" + end, *(s + end for s in symbols.symbols)]
    table = np.zeros((len(texts), max(map(len, texts))), dtype=np.int64)
    for row, text in zip(table, texts, strict=True):
        row[: len(text)] = [ord(letter) for letter in text]
    return table
