"""Characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.data.tokenizers.base import TokenizerSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelscale.data.vocabulary import Vocabulary


class CharacterTokenizer(TokenizerSpec):
    """Characters, each a symbol; those of the training texts are known."""

    vocabulary: int = Field(2_000, ge=1, le=200_000)
    """Most symbols that are known."""

    lowercase: bool = False
    """Whether capitals count as their small letters."""

    def fit(self, texts: Iterable[str]) -> Vocabulary:
        from modelscale.data.vocabulary import Vocabulary, counted

        plain = Vocabulary(unit="characters", lowercase=self.lowercase, symbols=())
        symbols = counted(map(plain.split, texts), self.vocabulary, 1)
        return plain.model_copy(update={"symbols": symbols})
