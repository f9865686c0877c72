"""Cells of tables: what is missing, what is a number, what is text."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Cell = str | int | float | None

MISSING, NUMBER, TEXT, TOO_LARGE = 0, 1, 2, 3
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_EXACT = 2.0**53
_BLANKS = (" ", "\u00a0", "\u202f")


class Marks(NamedTuple):
    """How numbers are written, such as `1.234,5`.

    Attributes:
        decimal: What parts the whole from the fraction, a point or a comma.
        thousands: What parts the thousands; empty where nothing does. A blank stands for the
            narrow and the unbreakable one too.
    """

    decimal: str = "."
    thousands: str = ""

    def plain(self, cell: str) -> str | None:
        """Return a number with a point and nothing else, 1234.5; None if it is none.

        Where thousands are parted, each group has three digits: with `.` as their mark `1.25`
        is no number, rather than 125.
        """
        if not _form(self).fullmatch(cell):
            return None
        for mark in _BLANKS if self.thousands == " " else (self.thousands,):
            cell = cell.replace(mark, "")
        return cell.replace(self.decimal, ".")


POINT = Marks()
_OTHER_MARKS = tuple(
    Marks(decimal, thousands)
    for decimal, thousands in ((",", "."), (",", " "), (".", ","), (".", "'"), (".", " "))
)


def foreign_number(words: Sequence[str]) -> str | None:
    """Return one of some words if most are numbers, but written with other marks; else None."""
    for marks in _OTHER_MARKS:
        found = [word for word in words if marks.plain(word) is not None]
        odd = next((word for word in found if POINT.plain(word) is None), None)
        if odd is not None and len(found) > 0.9 * len(words):
            return odd
    return None


@functools.cache
def _form(marks: Marks) -> re.Pattern[str]:
    if marks == POINT:
        return _NUMBER
    point = re.escape(marks.decimal)
    whole = "[0-9]+"
    if marks.thousands:
        group = re.escape("".join(_BLANKS) if marks.thousands == " " else marks.thousands)
        whole = f"(?:[0-9]{{1,3}}(?:[{group}][0-9]{{3}})+|[0-9]+)"
    return re.compile(rf"[+-]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?")


class Parsed(NamedTuple):
    """Cells of one column.

    Attributes:
        value_N: float64; NaN where the cell is no number.
        kind_N: uint8: MISSING, NUMBER, TEXT or TOO_LARGE.
    """

    value_N: NDArray[np.float64]
    kind_N: NDArray[np.uint8]


def parse(
    cells: Sequence[Cell] | NDArray[np.float64],
    missing: frozenset[str],
    marks: Marks = POINT,
) -> Parsed:
    """Return the numbers among cells, and what each cell is.

    A number is written in ASCII digits with a point, or as `marks` says; `inf`, `1_000` and
    `1,5` are text. Beyond the range of float64, or a whole number that float64 does not keep
    exactly, is too large.
    """
    import numpy as np

    if isinstance(cells, np.ndarray):
        absent_N = np.isnan(cells)
        kind_N = np.where(absent_N, MISSING, NUMBER).astype(np.uint8)
        kind_N[np.isinf(cells)] = TOO_LARGE
        return Parsed(cells, kind_N)
    fast = _all_numbers(cells) if marks == POINT else None
    if fast is not None and (not _has_numbers(missing) or missing.isdisjoint(cells)):
        return Parsed(fast, np.full(len(cells), NUMBER, dtype=np.uint8))
    value_N = np.full(len(cells), np.nan)
    kind_N = np.zeros(len(cells), dtype=np.uint8)
    for place, cell in enumerate(cells):
        kind_N[place], value_N[place] = _parse_cell(cell, missing, marks)
    return Parsed(value_N, kind_N)


@functools.cache
def _has_numbers(missing: frozenset[str]) -> bool:
    """Return whether a text of a missing cell looks like a number, as -99 does."""
    return any(_NUMBER.fullmatch(word) for word in missing)


def _all_numbers(cells: Sequence[Cell]) -> NDArray[np.float64] | None:
    """Return cells that are numbers without exception, at the speed of C; else None."""
    import numpy as np

    try:
        value_N = np.array(list(map(float, cells)))  # type: ignore[arg-type]  # None is caught
    except (ValueError, TypeError, OverflowError):
        return None
    if len(value_N) and not np.abs(value_N).max() < _EXACT:  # NaN is not < either
        return None
    # What Python takes for a number beyond the plain form: 1_000 and digits of other scripts.
    joined = "".join(c for c in cells if isinstance(c, str))
    return value_N if joined.isascii() and "_" not in joined else None


def _parse_cell(cell: Cell, missing: frozenset[str], marks: Marks) -> tuple[int, float]:
    if cell is None or cell in missing:
        return MISSING, float("nan")
    if isinstance(cell, str):
        cell = marks.plain(cell)
        if cell is None:
            return TEXT, float("nan")
        whole = _WHOLE.fullmatch(cell) is not None
    else:
        whole = isinstance(cell, int)
    try:
        value = float(cell)
    except OverflowError:
        return TOO_LARGE, float("nan")
    if not abs(value) < float("inf") or (whole and abs(value) >= _EXACT):
        return TOO_LARGE, float("nan")
    return NUMBER, value


def as_words(
    cells: Sequence[Cell] | NDArray[np.float64], missing: frozenset[str]
) -> list[str | None]:
    """Return cells as the text of categories; None where missing."""
    from modelscale.data.targets import as_text

    words: list[str | None] = []
    for cell in cells:
        if cell is None or cell in missing or cell != cell:  # the last is true of NaN alone
            words.append(None)
        else:
            words.append(cell if isinstance(cell, str) else as_text(float(cell)))
    return words
