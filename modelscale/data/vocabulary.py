"""Symbols of texts as data: what was learnt from the training texts, kept in checkpoints."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal

from modelscale.spec.base import Spec

PADDING = 0
UNKNOWN = 1
FIRST = 2
"""Number of the first symbol; before it are padding and whatever is not known."""

_WORDS = re.compile(r"[^\W_]+")
_MARKS = re.compile(r"[^\W_]+|[^\w\s]|_")
_LINES = re.compile(r"[^\W_]+|[^\w\s]|_|\n")
_PAIR = " "  # no word holds a blank
_JOINING = re.compile(r" (['’\-_/@]) ")
_CLOSING = re.compile(r" ([.,;:!?)\]}%…])")
_OPENING = re.compile(r"([(\[{¿¡]) ")
_NOT_KNOWN = "\N{REPLACEMENT CHARACTER}"


class Vocabulary(Spec):
    """The symbols that a network knows, and how a text is split into them.

    Number 0 is padding, 1 any symbol that is not known, symbol i has the number i + 2.
    """

    unit: Literal["words", "characters", "byte_pairs"]
    """What a symbol is."""

    lowercase: bool
    """Whether capitals count as their small letters."""

    punctuation: bool = False
    """Whether marks are symbols, beside words."""

    lines: bool = False
    """Whether line breaks are symbols, beside words and marks."""

    pairs: bool = False
    """Whether two words in a row are a symbol as well."""

    symbols: tuple[str, ...]
    """Known words or characters, the most frequent first."""

    counts: tuple[int, ...] = ()
    """For language models, how often each number occurred in training."""

    library: str | None = None
    """Byte pairs as the JSON document of the library `tokenizers`."""

    marks: bool = False
    """Whether the library puts its marks of begin and end around a text."""

    @property
    def size(self) -> int:
        """Number of different numbers: symbols, padding and the unknown."""
        if self.library is not None:
            from modelscale.data.byte_pairs import tokenizer_of

            return FIRST + int(tokenizer_of(self.library).get_vocab_size())
        return FIRST + len(self.symbols)

    def split(self, text: str) -> list[str]:
        """Return the words, pairs of words or characters of a text, known or not."""
        text = text.lower() if self.lowercase else text
        if self.unit == "characters":
            return list(text)
        marks = _LINES if self.lines else _MARKS
        words = (marks if self.punctuation else _WORDS).findall(text)
        if not self.pairs:
            return words
        both = words[:1]
        for before, word in itertools.pairwise(words):
            both += [word, f"{before}{_PAIR}{word}"]
        return both

    def encoder(self) -> Callable[[str], list[int]]:
        """Return what maps a text to the numbers of its symbols.

        A pair of words that is not known is left out, as its words stand beside it.
        """
        if self.library is not None:
            from modelscale.data.byte_pairs import tokenizer_of

            tokenizer, marks = tokenizer_of(self.library), self.marks

            def by_library(text: str) -> list[int]:
                return [FIRST + i for i in tokenizer.encode(text, add_special_tokens=marks).ids]

            return by_library
        known = {symbol: number for number, symbol in enumerate(self.symbols, FIRST)}
        split, pairs = self.split, self.pairs

        def by_table(text: str) -> list[int]:
            if not pairs:
                return [known.get(symbol, UNKNOWN) for symbol in split(text)]
            found = ((s, known.get(s, UNKNOWN)) for s in split(text))
            return [number for s, number in found if number != UNKNOWN or _PAIR not in s]

        return by_table

    def joiner(self) -> Callable[[list[int]], str]:
        """Return what makes a text of numbers of symbols, the inverse of `encoder`.

        Words get blanks between them, but not before marks that end something or around
        those that join two words; what is not known becomes the replacement character.
        """
        if self.library is not None:
            from modelscale.data.byte_pairs import tokenizer_of

            tokenizer = tokenizer_of(self.library)

            def by_library(numbers: list[int]) -> str:
                return str(tokenizer.decode([n - FIRST for n in numbers if n >= FIRST]))

            return by_library
        symbols, apart = ("", _NOT_KNOWN, *self.symbols), self.unit == "words"

        def by_table(numbers: list[int]) -> str:
            text = (" " if apart else "").join(symbols[number] for number in numbers)
            if not (apart and self.punctuation):
                return text
            return _OPENING.sub(r"\1", _CLOSING.sub(r"\1", _JOINING.sub(r"\1", text)))

        return by_table


def counted(texts: Iterable[Iterable[str]], largest: int, min_count: int) -> tuple[str, ...]:
    """Return the symbols of texts, the most frequent first, equals by the alphabet."""
    counts: Counter[str] = Counter()
    for symbols in texts:
        counts.update(symbols)
    often = [(-count, symbol) for symbol, count in counts.items() if count >= min_count]
    return tuple(symbol for _, symbol in sorted(often)[:largest])
