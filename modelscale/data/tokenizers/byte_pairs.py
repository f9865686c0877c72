"""Byte pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.data.tokenizers.base import TokenizerSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelscale.data.vocabulary import Vocabulary


class BytePairTokenizer(TokenizerSpec):
    """Pieces of words by byte-pair encoding (Sennrich et al., arXiv:1508.07909).

    Over bytes, so that no text is unknown. Needs the extra `text`, also to predict.
    """

    vocabulary: int = Field(8_000, ge=300, le=200_000)
    """Most symbols; 256 of them are the single bytes."""

    file: Path | None = None
    """A `tokenizer.json` that is used as it is, in place of training one."""

    def fit(self, texts: Iterable[str]) -> Vocabulary:
        from modelscale.data.byte_pairs import load, train
        from modelscale.data.vocabulary import Vocabulary

        document = train(texts, self.vocabulary) if self.file is None else load(self.file)
        return Vocabulary(unit="byte_pairs", lowercase=False, symbols=(), library=document)
