"""Words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.data.tokenizers.base import TokenizerSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelscale.data.vocabulary import Vocabulary


class WordTokenizer(TokenizerSpec):
    """Words (letters and digits in a row), each a symbol; the most frequent ones are known."""

    vocabulary: int = Field(20_000, ge=1, le=1_000_000)
    """Most symbols that are known."""

    min_count: int = Field(2, ge=1)
    """Times that a symbol must occur in the training texts to be known."""

    lowercase: bool = True
    """Whether capitals count as their small letters."""

    punctuation: bool = False
    """Whether each other character than letters, digits and blanks is a symbol too."""

    pairs: bool = False
    """Whether two words in a row are a symbol as well, put in behind the second one."""

    def fit(self, texts: Iterable[str]) -> Vocabulary:
        from modelscale.data.vocabulary import Vocabulary, counted

        plain = Vocabulary(
            unit="words",
            lowercase=self.lowercase,
            punctuation=self.punctuation,
            pairs=self.pairs,
            symbols=(),
        )
        symbols = counted(map(plain.split, texts), self.vocabulary, self.min_count)
        return plain.model_copy(update={"symbols": symbols})
