"""Roles of table columns: numeric, category, text or ignored, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscale.data.cells import foreign_number
from modelscale.data.documents import Documents
from modelscale.data.raw import Texts
from modelscale.data.reading import shown
from modelscale.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.raw import Raw

MAX_INFERRED_CATEGORIES = 1000
_KEY = re.compile(r"(?:^|[_\W])(?:id|ID|Id|key|uuid)$|[a-z]I[dD]$")
_FEW_KEYS = 20
_LOOKED_AT = 200
_BLANKS_OF_A_SENTENCE = 3
DIFFERENT = "its text is different in most rows"


@dataclass(frozen=True)
class Roles:
    """What becomes of each column of a table.

    Attributes:
        numeric: Columns whose values are numbers, in file order.
        category: Columns whose values are categories, in file order.
        ignored: Columns that are left out, each with the reason.
        warnings: What a user should look at, one line each.
        text: Columns of long texts, in file order; they are then the whole input.
    """

    numeric: tuple[str, ...]
    category: tuple[str, ...]
    ignored: dict[str, str]
    warnings: tuple[str, ...]
    text: tuple[str, ...] = ()


def column_roles(raw: Raw, train: NDArray[np.int64], declared: Mapping[str, str]) -> Roles:
    """Return the roles of all columns: as declared, else inferred from the training rows.

    Numbers are numeric and text is a category. Columns of long texts are the whole input where
    there are any. Left out, with a warning: columns with one
    value, and text that is different in more than half of the rows, as names and numbers of
    documents are.

    Raises:
        SpecError: If a declared column does not exist or can't have that role, or none is left.
    """
    _check_declared(raw, declared)
    long = [name for name, cells in raw.columns.items() if is_long(cells)]
    if texts := tuple(name for name in long if declared.get(name) != "ignore"):
        return _texts_alone(raw, texts, declared)
    found: dict[str, list[str]] = {"numeric": [], "category": []}
    ignored = dict(raw.skipped)
    unasked = {name: why for name, why in ignored.items() if name not in declared}
    for name, cells in raw.columns.items():
        fault = None if name in declared else _unusable(cells, train)
        if declared.get(name) == "ignore":
            ignored[name] = "as the spec says"
        elif fault:
            ignored[name] = unasked[name] = fault
        else:
            plain = "category" if isinstance(cells, Texts) else "numeric"
            found[declared.get(name, plain)].append(name)
    if not found["numeric"] and not found["category"]:
        reasons = "; ".join(f"'{name}': {reason}" for name, reason in ignored.items())
        unread = [name for name, reason in ignored.items() if reason == DIFFERENT]
        hint = (
            f"; to read long texts say data.columns: {{{unread[-1]}: text}}" if unread else ""
        )
        raise SpecError(
            f"data.columns: no column is left to learn from ({reasons or 'none'}){hint}"
        )
    warnings = [
        f"column '{name}' is ignored: {reason}{_text_hint(raw, name)}"
        for name, reason in unasked.items()
    ]
    warnings += [
        f"column '{name}' just numbers the rows; leave it out with "
        f"data.columns: {{{name}: ignore}}"
        for name in found["numeric"]
        if name not in declared and _counts_rows(raw.columns[name])
    ]
    warnings += [
        f"column '{name}' varies by less than 1/100,000 of its size, which single precision "
        "blurs; subtract a constant from it"
        for name in found["numeric"]
        if _is_blurred(raw.columns[name], train)
    ]
    warnings += _foreign_numbers(raw, declared)
    warnings += [
        f"column '{name}' is named like a key, and rows share its values; if rows of one value "
        f"belong together say data.source.group: {name} and split: group, else ignore it or "
        "declare it a category"
        for name, cells in raw.columns.items()
        if name not in declared and _KEY.search(name) and _is_shared(cells)
    ]
    return Roles(tuple(found["numeric"]), tuple(found["category"]), ignored, tuple(warnings))


def _text_hint(raw: Raw, name: str) -> str:
    """Return what to say of an ignored column whose cells are sentences."""
    cells = raw.columns.get(name)
    some = list(cells.words[:_LOOKED_AT]) if isinstance(cells, Texts) else []
    sentences = sum(word.count(" ") >= _BLANKS_OF_A_SENTENCE for word in some)
    return (
        f"; to read it say data.columns: {{{name}: text}}" if 2 * sentences > len(some) else ""
    )


def _is_shared(cells: NDArray[np.float64] | Texts) -> bool:
    """Return whether many values are there, and most of them in several rows."""
    import numpy as np

    value_N = np.asarray(cells.codes_N if isinstance(cells, Texts) else cells)
    different = len(np.unique(value_N))
    return _FEW_KEYS < different <= len(value_N) / 1.5


def _foreign_numbers(raw: Raw, declared: Mapping[str, str]) -> list[str]:
    """Return a warning for each column of numbers that are text as they are written."""
    found = []
    for name, cells in raw.columns.items():
        if name not in declared and isinstance(cells, Texts):
            word = foreign_number(cells.words[:_LOOKED_AT])
            if word is not None:
                found.append(
                    f"column '{name}' is text, as {shown(word)} is no number here; say how "
                    "numbers are written with data.source.decimal and thousands"
                )
    return found


def is_long(cells: NDArray[np.float64] | Texts) -> bool:
    """Return whether a column holds long texts, which were read as `Documents`."""
    return isinstance(cells, Texts) and isinstance(cells.words, Documents)


def _texts_alone(raw: Raw, texts: tuple[str, ...], declared: Mapping[str, str]) -> Roles:
    """Return the roles where texts are the whole input."""
    ignored, warnings = dict(raw.skipped), []
    for name in raw.columns:
        if name in texts:
            continue
        role = declared.get(name, "")
        if role in ("numeric", "category"):
            raise SpecError(
                f"data.columns.{name}: cannot be {role} beside the text '{texts[0]}', which is "
                "the whole input; ignore one of them"
            )
        ignored[name] = "as the spec says" if role else "texts are the whole input"
        if not role:
            warnings.append(f"column '{name}' is ignored: {ignored[name]}")
    return Roles((), (), ignored, tuple(warnings), texts)


def _check_declared(raw: Raw, declared: Mapping[str, str]) -> None:
    for name, role in declared.items():
        if name not in raw.columns and name not in raw.skipped:
            raise SpecError(
                f"data.columns: no column '{name}'{did_you_mean(name, raw.columns)}"
            )
        if name in raw.skipped and role != "ignore":
            raise SpecError(f"data.columns.{name}: cannot be used: {raw.skipped[name]}")
        if role in ("numeric", "category") and is_long(raw.columns[name]):
            raise SpecError(f"data.columns.{name}: its cells are texts, so it is not {role}")
        if role == "text" and not is_long(raw.columns[name]):
            raise SpecError(f"data.columns.{name}: the source does not give it as text")
        if role == "numeric" and isinstance(raw.columns.get(name), Texts):
            raise SpecError(f"data.columns.{name}: its cells are text, so it is not numeric")


def _unusable(cells: NDArray[np.float64] | Texts, train: NDArray[np.int64]) -> str | None:
    import numpy as np

    if isinstance(cells, Texts):
        code_N = np.asarray(cells.codes_N)[train]
        values = np.unique(code_N)
        filled, different = int((code_N >= 0).sum()), int((values >= 0).sum())
        if filled > 20 and different > filled / 2:
            return DIFFERENT
        if different > MAX_INFERRED_CATEGORIES:
            return f"it has {different} categories"
    else:
        values = np.unique(np.asarray(cells)[train])  # NaNs count as one value
    if len(values) > 1:
        return None
    return "it is empty" if _is_missing(values) else "it has one value in all training rows"


def _is_missing(values: NDArray[np.generic]) -> bool:
    if len(values) == 0:
        return True
    return bool(values[0] < 0) if values.dtype.kind == "i" else bool(values[0] != values[0])


def _counts_rows(cells: NDArray[np.float64] | Texts) -> bool:
    import numpy as np

    if isinstance(cells, Texts) or len(cells) < 20:
        return False
    return bool((np.diff(np.asarray(cells)) == 1.0).all())


def _is_blurred(cells: NDArray[np.float64] | Texts, train: NDArray[np.int64]) -> bool:
    """Return whether float32 keeps less than about 1/200 of a column's deviation."""
    import numpy as np

    assert not isinstance(cells, Texts)
    value_N = np.asarray(cells)[train]
    value_N = value_N[~np.isnan(value_N)]
    with np.errstate(over="ignore", invalid="ignore"):  # of values near float64's largest
        return len(value_N) > 0 and bool(0 < value_N.std() < 1e-5 * abs(value_N.mean()))
