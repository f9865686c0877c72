"""The `data.text` and `data.translation` sections of a spec."""

from __future__ import annotations

from pydantic import Field

from modelscale.data.tokenizers.base import TokenizerSpec
from modelscale.spec.base import Spec


class TextSection(Spec):
    """How texts become rows of symbols."""

    tokenizer: TokenizerSpec = Field(default_factory=lambda: TokenizerSpec.model_validate({}))
    """What the symbols are; which there are is learnt from the training rows."""

    length: int = Field(256, ge=1, le=65_536)
    """Symbols that a network reads; longer texts are cut off, shorter ones are padded."""


def whole_words() -> TokenizerSpec:
    """Return the tokenizer of texts to translate: words as they stand, and marks."""
    words = {"kind": "words", "punctuation": True, "lowercase": False}
    return TokenizerSpec.model_validate(words)


def text_to_translate() -> TextSection:
    """Return how texts to translate become symbols where the spec does not say."""
    return TextSection(tokenizer=whole_words(), length=64)


class TranslationSection(Spec):
    """How what is written becomes rows of symbols."""

    tokenizer: TokenizerSpec = Field(default_factory=whole_words)
    """What the symbols are; which there are is learnt from the training rows. By default words
    as they stand, and marks."""

    length: int = Field(64, ge=2, le=2048)
    """Symbols that a network writes at most, the end being one."""
