"""Pairs of texts, one to read and one to write: the symbols of the second one.

Number 0 is padding, 1 what is not known, and the number behind the last symbol is the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelscale.data.raw import Texts
from modelscale.data.roles import is_long
from modelscale.data.sources._table import TableSource
from modelscale.data.targets import as_text
from modelscale.data.text_section import TranslationSection
from modelscale.errors import DataError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.raw import Raw
    from modelscale.data.section import DataSection
    from modelscale.data.sources.base import SourceSpec

MOST_LETTERS = 4096
"""Letters of a true translation that are kept to measure against."""


def target_as_text(source: SourceSpec) -> dict[str, str]:
    """Return the role of a source's target where it is to be written: a text."""
    if not isinstance(source, TableSource):
        return {}
    names = (source.target,) if isinstance(source.target, str) else source.target or ()
    return dict.fromkeys(names, "text")


def check_pairs(section: DataSection, raw: Raw) -> None:
    """Refuse data that are no pairs of texts.

    Raises:
        SpecError: If no column is to be read, or none to be written.
    """
    if not any(map(is_long, raw.columns.values())):
        raise SpecError(
            "task: translation reads texts; say which column is one: data.columns: {NAME: text}"
        )
    if raw.target is None:
        raise SpecError("task: translation writes a column; name it: data.source.target: NAME")
    if section.augment:
        raise SpecError("data.augment: would change what is to be written too; leave it out")


def texts_to_write(raw: Raw, start: int = 0, stop: int | None = None) -> Iterator[str]:
    """Yield the true translations of rows `start` to `stop`.

    Raises:
        DataError: If there is not one column of them.
    """
    target = raw.target
    if target is None:
        raise DataError(f"{raw.origin}: no target says what is to be written")
    if isinstance(target, Texts):
        for code in target.codes_N[start:stop].tolist():
            yield target.words[code]
        return
    if target.ndim > 1:
        raise DataError(f"{raw.origin}: a translation needs one target column")
    yield from map(as_text, target[start:stop].tolist())


def fit_written(raw: Raw, train: NDArray[np.int64], section: DataSection) -> dict[str, Any]:
    """Return the fields of a pre-processing about what is written.

    Raises:
        DataError: If nothing is written in any training row.
        SpecError: If the symbols could not be put together again.
    """
    how = section.translation or TranslationSection()
    every = list(texts_to_write(raw))
    symbols = how.tokenizer.fit(every[row] for row in train.tolist())
    if symbols.pairs:
        raise SpecError(
            "data.translation.tokenizer.pairs: pairs of words cannot be written; leave it out"
        )
    if symbols.library is None and not symbols.symbols:
        raise DataError(f"{raw.origin}: no symbol is written often enough in the training rows")
    return {"written": symbols, "written_length": how.length}


def encode_written(
    preprocessing: Preprocessing, raw: Raw, start: int = 0, stop: int | None = None
) -> NDArray[np.float32]:
    """Return (N, T) symbols to write with the end, 0 behind it; zeros where none are known."""
    import numpy as np

    assert preprocessing.written is not None
    most = preprocessing.written_length
    rows = len(range(*slice(start, stop).indices(len(raw))))
    encoded_NT = np.zeros((rows, most), dtype=np.float32)
    if raw.target is None:
        return encoded_NT
    encode_one, last = preprocessing.written.encoder(), preprocessing.written.size
    for row, text in zip(encoded_NT, texts_to_write(raw, start, stop), strict=True):
        numbers = [*encode_one(text), last][:most]
        row[: len(numbers)] = numbers
    return encoded_NT


def encode_references(preprocessing: Preprocessing, raw: Raw) -> NDArray[np.int64]:
    """Return (N, T + L): symbols as in `encode_written`, then the letters of the file."""
    import numpy as np

    texts = [text[:MOST_LETTERS] for text in texts_to_write(raw)]
    letters = _as_letters(texts)
    return np.concatenate([encode_written(preprocessing, raw).astype(np.int64), letters], 1)


def references(preprocessing: Preprocessing, encoded: Tensor) -> Tensor:
    """Return (…, 1 + L): how many symbols are to be written, and the letters of the file.

    Args:
        preprocessing: The model's.
        encoded: (…, T + L) as `encode_references` gives them.
    """
    import torch

    symbols = encoded[..., : preprocessing.written_length]
    count = (symbols > 0).sum(-1, keepdim=True)
    return torch.cat([count, encoded[..., preprocessing.written_length :]], -1)


def foreseen_by_counts(preprocessing: Preprocessing, train: Tensor, some: Tensor) -> Tensor:
    """Return (N, 2), nats and symbols foreseen by who knows how often each is written.

    Args:
        preprocessing: The model's.
        train: (M, T + L) as `encode_references` gives them, to count in.
        some: (N, T + L), to be foreseen.
    """
    import torch

    length = preprocessing.written_length
    count_V = train[:, :length].flatten().bincount(minlength=preprocessing.outputs)
    count_V[0] = 0
    # One more of each, so that what never occurred in training has a probability.
    share_V = (count_V + 1) / (count_V.sum() + len(count_V))
    symbols = some[:, :length]
    nats = -share_V.log()[symbols] * (symbols > 0)
    return torch.stack([nats.sum(1), (symbols == count_V.argmax()).float().sum(1)], 1)


def letters_of(preprocessing: Preprocessing, symbols_NT: Tensor) -> Tensor:
    """Return (N, L) code points of the texts of symbols (N, T), 0 behind the end."""
    import torch

    assert preprocessing.written is not None
    joined: Callable[[list[int]], str] = preprocessing.written.joiner()
    texts = [joined([s for s in row if s]) for row in symbols_NT.tolist()]
    return torch.from_numpy(_as_letters(texts)).to(symbols_NT.device)


def _as_letters(texts: list[str]) -> NDArray[np.int64]:
    import numpy as np

    letters = np.zeros((len(texts), max(1, *map(len, texts), 1)), dtype=np.int64)
    for row, text in zip(letters, texts, strict=True):
        row[: len(text)] = [ord(letter) for letter in text]
    return letters
