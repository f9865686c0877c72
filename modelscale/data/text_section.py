"""The `data.text` section of a spec."""

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
