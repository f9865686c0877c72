"""From raw data to the arrays that a fitted pre-processing takes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelscale.data.raw import Texts
from modelscale.data.reading import shown
from modelscale.data.roles import is_long
from modelscale.data.targets import as_text, class_codes, logarithms, numbers
from modelscale.data.vocabulary import FIRST, UNKNOWN
from modelscale.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.raw import Raw
    from modelscale.data.vocabulary import Vocabulary
    from modelscale.data.windows import Windows

CHUNK_VALUES = 4_000_000


def encode(
    preprocessing: Preprocessing, raw: Raw, start: int = 0, stop: int | None = None
) -> NDArray[np.float32]:
    """Return rows as the pre-processing's module takes them (see `Preprocessing.encode`)."""
    import numpy as np

    span = slice(start, len(raw) if stop is None else stop)
    if preprocessing.texts:
        return _encode_texts(preprocessing, raw, span)
    if preprocessing.form == "series":
        return _encode_series(preprocessing, raw, span)
    if preprocessing.spectra is not None:
        return _encode_sounds(preprocessing, raw, span)
    if preprocessing.form == "table":
        return _encode_table(preprocessing, raw, span)
    if raw.array is None or raw.rate or raw.array.shape[1:] != preprocessing.shape:
        got = "table columns" if raw.array is None else str(raw.array.shape[1:])
        got = "recordings" if raw.rate else got
        raise DataError(
            f"{raw.origin}: examples are {got}; the model takes {preprocessing.shape}"
        )
    if preprocessing.symbols is not None:
        number_W = number_table(preprocessing.symbols, raw).astype(np.float32)
        return number_W[np.asarray(raw.array[span], dtype=np.int64)]
    _check_scale(preprocessing, raw, raw.array[span])
    # A copy, as torch wants arrays that could be written to, and these may be mapped.
    return np.array(raw.array[span], dtype=np.float32, order="C")


def _encode_table(preprocessing: Preprocessing, raw: Raw, span: slice) -> NDArray[np.float32]:
    import numpy as np

    width = len(preprocessing.numeric) + len(preprocessing.categories)
    encoded_ND = np.empty((span.stop - span.start, width), dtype=np.float32)
    for place, number in enumerate(preprocessing.numeric):
        encoded_ND[:, place] = numeric_cells(column(raw, number.name), number.name, raw, span)
    for place, category in enumerate(preprocessing.categories, len(preprocessing.numeric)):
        words, word_N = category_cells(column(raw, category.name), span)
        known = {word: code for code, word in enumerate(category.words, 1)}
        code_W = np.array([known.get(word, 0) for word in words] + [0], dtype=np.float32)
        encoded_ND[:, place] = code_W[word_N]  # -1, a missing cell, takes the last: 0
    return encoded_ND


def _encode_series(preprocessing: Preprocessing, raw: Raw, span: slice) -> NDArray[np.float32]:
    import numpy as np

    windows = series_of(preprocessing, raw)
    step_NT, there_NT = windows.steps_of(span)
    shape = (len(step_NT), len(preprocessing.numeric) + 1, windows.positions)
    encoded_NDT = np.empty(shape, dtype=np.float32)
    for place, number in enumerate(preprocessing.numeric):
        encoded_NDT[:, place] = windows.columns[number.name][step_NT]
    encoded_NDT[:, :-1][~np.broadcast_to(there_NT[:, None], encoded_NDT[:, :-1].shape)] = np.nan
    encoded_NDT[:, -1] = there_NT
    return encoded_NDT


def encode_steps(
    preprocessing: Preprocessing, raw: Raw, start: int, stop: int
) -> NDArray[np.float32]:
    """Return steps `start` to `stop` of all series as one window, (1, D + 1, steps)."""
    import numpy as np

    windows = series_of(preprocessing, raw)
    encoded_DT = np.ones((len(preprocessing.numeric) + 1, stop - start), dtype=np.float32)
    for place, number in enumerate(preprocessing.numeric):
        encoded_DT[place] = windows.columns[number.name][start:stop]
    return encoded_DT[None]


def series_of(preprocessing: Preprocessing, raw: Raw) -> Windows:
    """Return the windows of raw data, which have what a model takes.

    Raises:
        DataError: If it is no series, a column is missing, or windows are of another size.
    """
    windows = raw.series
    if windows is None:
        raise DataError(f"{raw.origin}: is no series, as the model takes")
    for number in preprocessing.numeric:
        if number.name not in windows.columns:
            hint = did_you_mean(number.name, windows.columns)
            raise DataError(f"{raw.origin}: no column '{number.name}'{hint}")
    (positions,) = preprocessing.shape
    if windows.positions > positions:
        raise DataError(
            f"{raw.origin}: windows have {windows.positions} steps; the model takes {positions}"
        )
    return windows if windows.positions == positions else replace(windows, positions=positions)


def _encode_sounds(preprocessing: Preprocessing, raw: Raw, span: slice) -> NDArray[np.float32]:
    from modelscale.data.sound_fitting import sound_rows

    assert preprocessing.spectra is not None
    if raw.array is None or raw.rate != preprocessing.spectra.rate:
        got = f"{raw.rate:,} samples a second" if raw.rate else "no recordings"
        raise DataError(
            f"{raw.origin}: {got}; the model takes recordings of {preprocessing.spectra.rate:,}"
        )
    return sound_rows(preprocessing.shape[0], raw.array[span])


def _encode_texts(preprocessing: Preprocessing, raw: Raw, span: slice) -> NDArray[np.float32]:
    import numpy as np

    assert preprocessing.symbols is not None
    for name in preprocessing.texts:
        if not is_long(column(raw, name)):
            raise DataError(f"{raw.origin}: column '{name}': is not text, as the model takes")
    (length,) = preprocessing.shape
    encode_one = preprocessing.symbols.encoder()
    encoded_NT = np.zeros((span.stop - span.start, length), dtype=np.float32)
    for place, row in enumerate(range(span.start, span.stop)):
        numbers_T = encode_one(text_of(raw, preprocessing.texts, row))[:length]
        encoded_NT[place, : len(numbers_T)] = numbers_T
    if preprocessing.written is None:
        return encoded_NT
    from modelscale.data.pairs import encode_written

    written_NT = encode_written(preprocessing, raw, span.start, span.stop)
    return np.concatenate([encoded_NT, written_NT], axis=1)


def number_table(symbols: Vocabulary, raw: Raw) -> NDArray[np.int32]:
    """Return the model's number of each symbol of windows of a text."""
    import numpy as np

    if raw.symbols is None or raw.symbols.unit != symbols.unit:
        raise DataError(
            f"{raw.origin}: is not the {symbols.unit} of a text, as the model takes"
        )
    known = {symbol: number for number, symbol in enumerate(symbols.symbols, FIRST)}
    return np.array([known.get(s, UNKNOWN) for s in raw.symbols.symbols], dtype=np.int32)


def _unigram_nats(preprocessing: Preprocessing, raw: Raw) -> NDArray[np.float32]:
    """Return (N, 1), the mean nats of what is predicted in a window, by counts alone."""
    import numpy as np

    assert raw.array is not None
    assert preprocessing.symbols is not None
    count_V = np.array(preprocessing.symbols.counts, dtype=np.float64)
    # One more of each, so that what never occurred in training has a probability.
    nats_V = np.log(count_V.sum() + len(count_V)) - np.log(count_V + 1)
    nats_W = nats_V[number_table(preprocessing.symbols, raw)].astype(np.float32)
    found_N1 = np.empty((len(raw), 1), dtype=np.float32)
    step = max(1, CHUNK_VALUES // raw.array.shape[1])
    for start in range(0, len(raw), step):
        chunk = raw.array[start : start + step, 1:]
        found_N1[start : start + step, 0] = nats_W[chunk].mean(axis=1)
    return found_N1


def text_of(raw: Raw, columns: Sequence[str], row: int) -> str:
    """Return the texts of a row, one a line; a missing one is empty."""
    found = []
    for name in columns:
        cells = raw.columns[name]
        assert isinstance(cells, Texts)
        code = int(cells.codes_N[row])
        found.append(cells.words[code] if code >= 0 else "")
    return "\n".join(found)


def _check_scale(preprocessing: Preprocessing, raw: Raw, values: NDArray[np.generic]) -> None:
    """Refuse images of another scale than the model's: its answers would be nonsense."""
    if preprocessing.form != "array" or not values.size:
        return
    bytes_wanted = preprocessing.divisor != 1
    if bytes_wanted and values.dtype.kind == "f" and float(values.max()) <= 1:
        raise DataError(
            f"{raw.origin}: values up to {float(values.max()):g}, but the model was trained on "
            "bytes from 0 to 255"
        )
    if not bytes_wanted and values.dtype == "uint8":
        raise DataError(f"{raw.origin}: bytes, but the model was trained on other numbers")


def column(raw: Raw, name: str) -> NDArray[np.float64] | Texts:
    """Return a column by its name.

    Raises:
        DataError: If there is none of that name.
    """
    if name not in raw.columns:
        hint = did_you_mean(name, raw.columns) if len(raw.columns) <= 30 else ""
        raise DataError(f"{raw.origin}: no column '{name}'{hint}")
    return raw.columns[name]


def numeric_cells(
    cells: NDArray[np.float64] | Texts, name: str, raw: Raw, span: slice
) -> NDArray[np.float64]:
    """Return numeric cells, NaN where missing.

    Raises:
        DataError: If the column is text, or a value is beyond float32.
    """
    import numpy as np

    from modelscale.data.raw import Texts

    if isinstance(cells, Texts):
        code_N = np.asarray(cells.codes_N[span])
        if (code_N < 0).all():  # nothing but missing cells has no type of its own
            return np.full(len(code_N), np.nan)
        row = int(np.argmax(code_N >= 0))
        raise DataError(
            f"{raw.origin}: row {span.start + row + raw.first_row}, column '{name}': "
            f"{shown(cells.words[code_N[row]])} is not a number"
        )
    value_N = np.asarray(cells[span])
    with np.errstate(invalid="ignore"):
        too_large = np.abs(value_N) > float(np.finfo(np.float32).max)
    if too_large.any():
        row = int(np.argmax(too_large))
        raise DataError(
            f"{raw.origin}: row {span.start + row + raw.first_row}, column '{name}': "
            f"{value_N[row]} is beyond single precision"
        )
    return value_N


def category_cells(
    cells: NDArray[np.float64] | Texts, span: slice
) -> tuple[Sequence[str], NDArray[np.int64]]:
    """Return a column's words, and each cell's index into them, -1 where missing."""
    import numpy as np

    if isinstance(cells, Texts):
        return cells.words, np.asarray(cells.codes_N[span], dtype=np.int64)
    values, word_N = np.unique(np.asarray(cells[span]), return_inverse=True)
    word_N = np.where(np.isnan(values)[word_N], -1, word_N)
    return tuple("" if np.isnan(v) else as_text(v) for v in values), word_N


def encode_target(preprocessing: Preprocessing, raw: Raw) -> Tensor:
    """Return the target as it is trained on (see `Preprocessing.encode_target`)."""
    import numpy as np
    import torch

    if preprocessing.task == "language_model":
        return torch.from_numpy(_unigram_nats(preprocessing, raw))
    if preprocessing.task in {"pretraining", "ranking"}:
        return torch.zeros(len(raw), 1)
    if preprocessing.written is not None:
        from modelscale.data.pairs import encode_references

        return torch.from_numpy(encode_references(preprocessing, raw))
    if preprocessing.transcript is not None:
        from modelscale.data.sound_fitting import encode_said

        return torch.from_numpy(encode_said(preprocessing.transcript, raw))
    if preprocessing.task == "classification":
        return torch.from_numpy(class_codes(raw, preprocessing.labels))
    value_NT = numbers(raw)
    if value_NT.shape[1] != len(preprocessing.targets):
        raise DataError(
            f"{raw.origin}: {value_NT.shape[1]} target values; "
            f"the model gives {len(preprocessing.targets)}"
        )
    if any(target.log for target in preprocessing.targets):
        value_NT = logarithms(raw)
    mean_T = np.array([target.mean for target in preprocessing.targets])
    scale_T = np.array([target.scale for target in preprocessing.targets])
    return torch.from_numpy(((value_NT - mean_T) / scale_T).astype(np.float32))
