"""Byte-pair encoding by the library `tokenizers`; what it has learnt is JSON, never code."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from modelscale.data.reading import open_regular
from modelscale.errors import DataError, missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_FILE_BYTES = 64 << 20


def train(texts: Iterable[str], vocabulary: int) -> str:
    """Return a trained tokenizer as the library's JSON document."""
    library = _library()
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = library.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(iter(texts), trainer=trainer)
    return str(tokenizer.to_str())


def load(path: Path) -> str:
    """Return the JSON document of a `tokenizer.json`.

    Raises:
        DataError: If the library does not understand it.
        InputMissing: If it is not there.
    """
    with open_regular(path) as stream:
        content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise DataError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes")
    try:
        document = content.decode()
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8") from None
    tokenizer_of(document, str(path))
    return document


@functools.lru_cache(maxsize=4)
def tokenizer_of(document: str, place: str = "pre-processing") -> Any:
    """Return the library's tokenizer of a JSON document.

    Raises:
        DataError: If the library does not understand it.
        Unavailable: If the library is not installed.
    """
    library = _library()
    try:
        tokenizer = library.Tokenizer.from_str(document)
    except Exception as error:  # noqa: BLE001  # the library raises the plain class
        raise DataError(f"{place}: is no tokenizer: {str(error)[:200]}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise missing_extra("tokenizers", "text", "byte-pair encoding") from None
    return tokenizers
