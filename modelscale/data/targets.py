"""Targets: which task they make, their classes, and what a network is trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelscale.data.reading import shown
from modelscale.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.raw import Raw
    from modelscale.tensors import Task

MAX_INTEGER_CLASSES = 20
ANOMALIES = ("0", "1")
RARE = 0.05
"""Share of the rows below which one of two classes is measured as a rare one by default."""


def infer_task(raw: Raw) -> Task:
    """Return the task that a target makes.

    Windows of a text make a language model. Text (also true and false) makes classification;
    so do whole numbers with at most 20 different values. Everything else, several target
    columns too, is regression.

    Raises:
        DataError: If there is no target.
    """
    import numpy as np

    from modelscale.data.raw import Texts

    target = raw.target
    if raw.symbols is not None:
        return "language_model"
    if target is None:
        raise DataError(f"{raw.origin}: no target to learn; name its column as `target`")
    if isinstance(target, Texts):
        return "classification"
    if target.ndim == 2 and target.shape[1] > 1:
        return "regression"
    values = np.unique(target)
    whole = bool(np.all(values == np.floor(values)))
    return "classification" if whole and len(values) <= MAX_INTEGER_CLASSES else "regression"


def with_anomalies(raw: Raw) -> Raw:
    """Return raw data with the two classes of anomaly detection, 0 and 1.

    Without a target every row counts as 0: nothing is known of them, and nothing is learnt
    from it.

    Raises:
        DataError: If a target is not 0 or 1 (or false or true).
    """
    import numpy as np

    from modelscale.data.raw import Texts

    target = raw.target
    if target is None:
        known = Texts(np.zeros(len(raw), dtype=np.int32), ANOMALIES)
        return replace(raw, target=known, target_names=("anomaly",), classes=ANOMALIES)
    found = class_labels(raw)
    for classes in (ANOMALIES, ("false", "true")):
        if set(found) <= set(classes):
            return replace(raw, classes=classes)
    odd = next(label for label in found if label not in ANOMALIES)
    raise DataError(
        f"{raw.origin}: target '{raw.target_names[0]}': for task: anomaly it must be 1 where "
        f"an example is to be found and 0 elsewhere, got {shown(odd)}"
    )


def with_positive(raw: Raw, positive: str) -> Raw:
    """Return raw data whose second class is the given one.

    Raises:
        DataError: If there are not two classes, or it is none of them.
    """
    found = class_labels(raw)
    if positive not in found or len(found) != 2:
        known = ", ".join(map(shown, found[:10])) + (", …" if len(found) > 10 else "")
        raise DataError(
            f"{raw.origin}: target '{raw.target_names[0]}': data.positive needs two classes "
            f"and names one of them, got {shown(positive)} of {known}"
        )
    return replace(raw, classes=(*(label for label in found if label != positive), positive))


def as_text(value: float) -> str:
    """Return a number as the text of a category or label: 3.0 is "3"."""
    return str(int(value)) if value == int(value) and abs(value) < 1e16 else repr(float(value))


def class_labels(raw: Raw) -> tuple[str, ...]:
    """Return all classes of the target, numbers in order of size, words of the alphabet."""
    import numpy as np

    from modelscale.data.raw import Texts

    if raw.classes:
        return raw.classes
    target = raw.target
    assert target is not None
    if isinstance(target, Texts):
        used = np.unique(target.codes_N)
        return tuple(sorted(target.words[code] for code in used if code >= 0))
    return tuple(as_text(value) for value in np.unique(target).tolist())


def class_codes(raw: Raw, labels: tuple[str, ...] | None = None) -> NDArray[np.int64]:
    """Return the class of each row as an index into `labels` (by default, all in order).

    Raises:
        DataError: If a row has a class that is not among `labels`.
    """
    import numpy as np

    from modelscale.data.raw import Texts

    target = raw.target
    assert target is not None
    if not isinstance(target, Texts) and target.ndim == 2 and target.shape[1] > 1:
        raise DataError(
            f"{raw.origin}: classification needs one target column, "
            f"got {', '.join(raw.target_names)}"
        )
    known = {label: code for code, label in enumerate(labels or class_labels(raw))}
    if isinstance(target, Texts):
        words, word_N = target.words, np.asarray(target.codes_N, dtype=np.int64)
    else:
        values, word_N = np.unique(np.asarray(target).reshape(-1), return_inverse=True)
        words = tuple(as_text(value) for value in values.tolist())
    code_W = np.array([known.get(word, -1) for word in words], dtype=np.int64)
    code_N = code_W[word_N]
    if len(code_N) and code_N.min() < 0:
        row = int(np.argmax(code_N < 0))
        raise DataError(
            f"{raw.origin}: row {row + raw.first_row}, target '{raw.target_names[0]}': "
            f"{shown(words[word_N[row]])} is not a class of the training data "
            f"({', '.join(map(shown, list(known)[:10]))}{', …' if len(known) > 10 else ''})"
        )
    return code_N


def numbers(raw: Raw) -> NDArray[np.float64]:
    """Return regression targets, (N, T) float64.

    Raises:
        DataError: If the target is text.
    """
    import numpy as np

    from modelscale.data.raw import Texts

    target = raw.target
    assert target is not None
    if isinstance(target, Texts):
        raise DataError(
            f"{raw.origin}: target '{raw.target_names[0]}' is text "
            f"({shown(target.words[0])}, …); regression needs numbers"
        )
    return np.asarray(target, dtype=np.float64).reshape(len(target), -1)


def logarithms(raw: Raw) -> NDArray[np.float64]:
    """Return the natural logarithms of regression targets, (N, T) float64.

    Raises:
        DataError: If one does not exist.
    """
    import numpy as np

    value_NT = numbers(raw)
    if not (value_NT > 0).all():
        row, column = np.argwhere(~(value_NT > 0))[0]
        raise DataError(
            f"{raw.origin}: row {row + raw.first_row}, target '{raw.target_names[column]}': "
            f"{value_NT[row, column]} has no logarithm; choose another data.target_transform"
        )
    return np.log(value_NT)
