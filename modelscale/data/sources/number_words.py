"""Numbers in digits and in English words: the smallest translation, made by rule."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from modelscale.data.sources.base import SourceSpec
from modelscale.spec.base import clash

if TYPE_CHECKING:
    from modelscale.data.raw import Raw
    from modelscale.data.reading import Reading

_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen")
_SMALL = (*_ONES, *_TEENS, "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


class NumberWordsSource(SourceSpec):
    """Synthetic pairs such as 2407 and "two thousand, four hundred and seven", none twice."""

    samples: int = Field(3000, ge=1, le=100_000)
    """Pairs."""

    digits: int = Field(4, ge=1, le=6)
    """Digits of the largest number."""

    seed: int = Field(0, ge=0)
    """Says which numbers they are."""

    @model_validator(mode="after")
    def _enough_numbers(self) -> Self:
        if self.samples > 10**self.digits:
            most = f"{10**self.digits:,} numbers of up to {self.digits} digits"
            raise clash(f"samples {self.samples:,}: there are {most}", "samples", "digits")
        return self

    def read(self, how: Reading | None = None) -> Raw:
        import numpy as np

        from modelscale.data.documents import Documents
        from modelscale.data.raw import Raw, Texts
        from modelscale.data.shuffling import shuffled
        from modelscale.seeds import derive

        everything = shuffled(10**self.digits, derive(self.seed, "number_words"))
        numbers = everything[: self.samples].tolist()
        row_N = np.arange(len(numbers), dtype=np.int32)
        text = self.model_dump_json()
        return Raw(
            target=Texts(row_N, Documents.of(map(in_words, numbers))),
            target_names=("words",),
            fingerprint=hashlib.sha256(text.encode()).hexdigest(),
            origin="number_words",
            columns={"digits": Texts(row_N, Documents.of(map(str, numbers)))},
        )


def in_words(number: int) -> str:
    """Return a number below a million in British English."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        ten, one = divmod(number, 10)
        return _TENS[ten - 2] + (f"-{_SMALL[one]}" if one else "")
    size, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    many, rest = divmod(number, size)
    if not rest:
        return f"{in_words(many)} {name}"
    link = ", " if rest >= 100 else " and "
    return f"{in_words(many)} {name}{link}{in_words(rest)}"
