"""The tokenizer family."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from modelscale.components import Component

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelscale.data.vocabulary import Vocabulary


class TokenizerSpec(Component):
    """How a text becomes a row of symbols; what symbols there are, training texts decide."""

    default_kind: ClassVar[str | None] = "words"

    @abstractmethod
    def fit(self, texts: Iterable[str]) -> Vocabulary:
        """Return the symbols of the training texts.

        Raises:
            Unavailable: If an extra is missing.
            DataError: If a file that the spec names is no tokenizer.
            InputMissing: If it is not there.
        """
