"""Interactions: rows that say which user turned to which item, and what is known of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from modelscale.errors import DataError, SpecError, did_you_mean
from modelscale.spec.base import Spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.raw import Raw, Texts

SCORE = "rank"
"""What stands for the target of a ranking: the place of the row's item in the user's list."""


class InteractionsSection(Spec):
    """Which columns of a table are the user and the item; both become categories.

    A table without a target makes a `ranking`: every row is an item that the user chose.
    """

    user: str
    """Column of the user."""

    item: str
    """Column of the item."""

    relevant: float | None = None
    """For a ranking of rated items: rows whose target is lower are left out."""

    users: Path | None = Field(None)
    """A table with a row for each user: the user's column again, and what is known of them."""

    items: Path | None = Field(None)
    """A table with a row for each item: the item's column again, and what is known of them."""


def joined(raw: Raw, section: InteractionsSection, roles: dict[str, str]) -> Raw:
    """Return interactions with what the tables of users and items say of each row's.

    The user is the group of a row, where the source names no other.

    Raises:
        DataError: If a table is damaged, or has a column that the interactions have too.
        SpecError: If there is no such column.
    """
    for field in ("user", "item"):
        name = getattr(section, field)
        if name not in raw.columns:
            hint = did_you_mean(name, raw.columns)
            raise SpecError(f"data.interactions.{field}: no column '{name}'{hint}")
        if (row := _first_missing(raw.columns[name])) is not None:
            raise DataError(f"{raw.origin}: row {row + raw.first_row}: '{name}' is missing")
    for key, path in ((section.user, section.users), (section.item, section.items)):
        if path is not None:
            raw = with_features(raw, key, path, roles)
    if raw.groups is None:
        raw = replace(raw, groups=codes_of(raw, section.user))
    return raw


def chosen(raw: Raw, section: InteractionsSection) -> Raw:
    """Return the rows of a ranking: those that are relevant, without their ratings.

    Raises:
        SpecError: If relevance is asked of a target that is not there, or no number.
    """
    import numpy as np

    from modelscale.data.raw import Texts

    if section.relevant is not None:
        if raw.target is None or isinstance(raw.target, Texts):
            raise SpecError("data.interactions.relevant: needs a target of numbers")
        rows = np.flatnonzero(
            np.asarray(raw.target).reshape(len(raw), -1)[:, 0] >= section.relevant
        )
        if len(rows) == 0:
            raise DataError(f"{raw.origin}: no row's target reaches {section.relevant:g}")
        raw = _rows(raw, rows)
    return replace(raw, target=np.zeros(len(raw)), target_names=(SCORE,))


def codes_of(raw: Raw, name: str) -> NDArray[np.int64]:
    """Return a number for each row's user or item, from 0, without gaps."""
    import numpy as np

    from modelscale.data.encoding import category_cells

    _, code_N = category_cells(raw.columns[name], slice(0, len(raw)))
    used_N: NDArray[np.int64] = np.unique(code_N, return_inverse=True)[1].astype(np.int64)
    return used_N


def columns_of_items(raw: Raw, item: str, train: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the item's column and those that say the same in all training rows of an item."""
    import numpy as np

    from modelscale.data.raw import Texts

    code_N = codes_of(raw, item)[train]
    first_I = np.zeros(code_N.max() + 1, dtype=np.int64)
    first_I[code_N[::-1]] = train[::-1]
    found = []
    for name, cells in raw.columns.items():
        value_N = np.asarray(cells.codes_N if isinstance(cells, Texts) else cells)
        first_N, own_N = value_N[first_I[code_N]], value_N[train]
        if ((first_N == own_N) | ((first_N != first_N) & (own_N != own_N))).all():
            found.append(name)
    return tuple(found)


def _first_missing(cells: NDArray[np.float64] | Texts) -> int | None:
    import numpy as np

    from modelscale.data.raw import Texts

    missing = np.asarray(cells.codes_N) < 0 if isinstance(cells, Texts) else np.isnan(cells)
    return int(np.argmax(missing)) if missing.any() else None


def with_features(raw: Raw, key: str, path: Path, roles: dict[str, str]) -> Raw:
    """Return interactions with the columns of a table that has a row for each `key`."""
    import hashlib

    import numpy as np

    from modelscale.data.encoding import category_cells
    from modelscale.data.opening import source_of
    from modelscale.data.raw import Texts
    from modelscale.data.reading import Reading

    table = source_of(path).read(Reading(roles=roles | {key: "category"}))
    if key not in table.columns:
        raise DataError(f"{path}: has no column '{key}'{did_you_mean(key, table.columns)}")
    words, word_T = category_cells(table.columns[key], slice(0, len(table)))
    row_of: dict[str, int] = {}
    for row, word in enumerate(word_T.tolist()):
        if word < 0 or row_of.setdefault(words[word], row) != row:
            fault = "is missing" if word < 0 else f"{words[word]!r} has a row already"
            raise DataError(f"{path}: row {row + table.first_row}: '{key}' {fault}")
    own, own_N = category_cells(raw.columns[key], slice(0, len(raw)))
    row_N = np.array([row_of.get(word, -1) for word in own], dtype=np.int64)[own_N]
    columns = dict(raw.columns)
    for name, cells in table.columns.items():
        if name == key:
            continue
        if name in columns:
            raise DataError(f"{path}: '{name}' is a column of {raw.origin} too; rename one")
        if isinstance(cells, Texts):
            code_N = np.where(row_N < 0, -1, np.asarray(cells.codes_N)[row_N])
            columns[name] = Texts(code_N.astype(np.int32), cells.words)
        else:
            columns[name] = np.where(row_N < 0, np.nan, np.asarray(cells)[row_N])
    both = hashlib.sha256((raw.fingerprint + table.fingerprint).encode()).hexdigest()
    skipped = raw.skipped | table.skipped
    return replace(raw, columns=columns, fingerprint=both, skipped=skipped)


def _rows(raw: Raw, rows: NDArray[np.int64]) -> Raw:
    """Return some rows, with everything that splits go by."""
    from modelscale.data.raw import Texts

    def taken(cells: NDArray[np.float64] | Texts) -> NDArray[np.float64] | Texts:
        if isinstance(cells, Texts):
            return Texts(cells.codes_N[rows], cells.words)
        return cells[rows]

    part = None if raw.part is None else taken(raw.part)
    assert part is None or isinstance(part, Texts)
    return replace(
        raw,
        columns={name: taken(cells) for name, cells in raw.columns.items()},
        groups=None if raw.groups is None else raw.groups[rows],
        times=None if raw.times is None else raw.times[rows],
        part=part,
    )
