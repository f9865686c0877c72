"""Ratings of items by users, in tab-separated files whose header names each column's type."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modelscale.data.raw import Texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

_NUMBERS = {"age", "release_year"}
_UNUSED = {"zip_code", "movie_title"}
_SEVERAL = "class"  # the genres of a film, separated by blanks

Columns = dict[str, "NDArray[np.float64] | Texts"]


class Ratings(NamedTuple):
    """Ratings, one a row.

    Attributes:
        columns: The user, the item, and what is known of either.
        rating_N: (N,) float64.
        time_N: (N,) seconds since 1970.
    """

    columns: Columns
    rating_N: NDArray[np.float64]
    time_N: NDArray[np.float64]


def ratings(files: Sequence[bytes]) -> Ratings:
    """Return the ratings of a file, each with what further files say of its user and item.

    Args:
        files: Ratings first: user, item, rating, time. Then one file for users and one for
            items, where there are any, with the key in the first column.
    """
    import numpy as np

    table = _table(files[0])
    columns: Columns = {name: _texts(table[name]) for name in ("user_id", "item_id")}
    for file in files[1:]:
        known = _table(file)
        key, *names = known
        row_of = {word: row for row, word in enumerate(known[key])}
        row_N = [row_of[word] for word in table[key]]
        for name in (n for n in names if n not in _UNUSED):
            cells = [known[name][row] for row in row_N]
            columns |= _flags(cells) if name == _SEVERAL else {name: _cells(name, cells)}
    return Ratings(
        columns,
        np.array(table["rating"], dtype=np.float64),
        np.array(table["timestamp"], dtype=np.float64),
    )


def _table(file: bytes) -> dict[str, list[str]]:
    """Return the columns of a file by name, without the types."""
    head, *lines = file.decode().splitlines()
    names = [name.partition(":")[0] for name in head.split("\t")]
    cells = zip(*(line.split("\t") for line in lines), strict=True)
    return {name: list(column) for name, column in zip(names, cells, strict=True)}


def _cells(name: str, cells: list[str]) -> NDArray[np.float64] | Texts:
    import numpy as np

    if name not in _NUMBERS:
        return _texts(cells)
    return np.array([float(c) if c.isdigit() else np.nan for c in cells])


def _texts(cells: list[str]) -> Texts:
    import numpy as np

    codes: dict[str, int] = {}
    code_N = [codes.setdefault(cell, len(codes)) if cell else -1 for cell in cells]
    return Texts(np.array(code_N, dtype=np.int32), tuple(codes))


def _flags(cells: list[str]) -> Columns:
    """Return a column of 0 and 1 for each word that occurs in the cells."""
    import numpy as np

    words = sorted({word for cell in set(cells) for word in cell.split()})
    return {
        word.lower(): np.array([float(word in cell.split()) for cell in cells])
        for word in words
    }
