"""Fitting the pre-processing, on the training rows alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from modelscale.data.encoding import category_cells, column, numeric_cells, text_of
from modelscale.data.pairs import fit_written
from modelscale.data.preprocessing import (
    CategoryColumn,
    Channel,
    NumericColumn,
    Preprocessing,
    TargetScale,
)
from modelscale.data.roles import Roles, column_roles
from modelscale.data.sound_fitting import fit_spectra, fit_transcript
from modelscale.data.targets import class_labels, logarithms, numbers
from modelscale.data.text_section import TextSection, text_to_translate
from modelscale.errors import SpecError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.raw import Raw
    from modelscale.data.section import DataSection
    from modelscale.data.windows import Windows
    from modelscale.tensors import Encoding, Task

CHUNK_ROWS = 65_536
MOST_ONEHOT = 10_000  # inputs for categories of a model that takes them as 0/1
FLAT = 1e-12  # a deviation this small beside the mean is rounding noise


class Moments(NamedTuple):
    """Mean and standard deviation (of the population; 1 where nothing varies)."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def fit(
    raw: Raw,
    task: Task,
    train: NDArray[np.int64],
    encoding: Encoding,
    section: DataSection,
    bins: int = 0,
) -> Preprocessing:
    """Return the pre-processing that the training rows ask for.

    Args:
        raw: All examples.
        task: What is learnt.
        train: Rows to fit on, ascending.
        encoding: How categories reach the network.
        section: Roles of columns and what is to be scaled.
        bins: Into how many bins each number of a table is to be cut.

    Raises:
        DataError: If no column is left to learn from, or a target has no logarithm.
    """
    if raw.symbols is not None:
        return _windows(raw, train)
    common = _common(raw, task, train, encoding, section)
    if raw.rate is not None:
        return fit_spectra(raw, train, section, common)
    if raw.array is not None:
        fields = _array_fields(raw, raw.array, train, section)
    elif raw.series is not None:
        columns = _series_columns(raw, raw.series, train, section)
        fields = {"form": "series", "numeric": columns, "shape": (raw.series.positions,)}
    else:
        fields = _table_fields(raw, task, train, encoding, section, bins)
    return Preprocessing.model_validate(common | fields)


def _common(
    raw: Raw, task: Task, train: NDArray[np.int64], encoding: Encoding, section: DataSection
) -> dict[str, Any]:
    """Return the fields that do not depend on the form of the inputs."""
    common: dict[str, Any] = {
        "task": task,
        "encoding": encoding,
        "labels": class_labels(raw) if task == "classification" else (),
        "target_names": ("loss",) if task == "pretraining" else raw.target_names,
    }
    if task == "transcription":
        common["transcript"] = fit_transcript(raw, train, section)
    elif task == "translation":
        common |= fit_written(raw, train, section)
    elif task == "regression":
        common["targets"] = _target_scales(raw, train, section)
    return common


def _table_fields(
    raw: Raw,
    task: Task,
    train: NDArray[np.int64],
    encoding: Encoding,
    section: DataSection,
    bins: int,
) -> dict[str, Any]:
    roles = column_roles(raw, train, section.roles())
    if roles.text:
        plain = text_to_translate() if task == "translation" else TextSection()
        return _texts(raw, train, roles, section.text or plain)
    categories = tuple(_category(raw, name, train) for name in roles.category)
    if encoding == "onehot":
        _refuse_too_many(categories)
    return {
        "form": "table",
        "numeric": _numeric_columns(raw, train, roles, section.standardize, bins),
        "categories": categories,
        "item_columns": _item_columns(raw, train, section),
    }


def _array_fields(
    raw: Raw, array: NDArray[Any], train: NDArray[np.int64], section: DataSection
) -> dict[str, Any]:
    shape = {"shape": tuple(array.shape[1:]), "vocabulary": raw.vocabulary}
    if raw.vocabulary is not None:
        return shape | {"form": "tokens"}
    divisor = 255.0 if array.dtype.kind == "u" else 1.0
    channels = _channels(array, train, divisor, section.standardize)
    return shape | {"form": "array", "divisor": divisor, "channels": channels}


def _numeric_columns(
    raw: Raw, train: NDArray[np.int64], roles: Roles, standardize: bool, bins: int
) -> tuple[NumericColumn, ...]:
    found = []
    for name in roles.numeric:
        cells = numeric_cells(column(raw, name), name, raw, slice(0, len(raw)))
        found.append(_number(name, cells[train], standardize, bins))
    return tuple(found)


def _series_columns(
    raw: Raw, windows: Windows, train: NDArray[np.int64], section: DataSection
) -> tuple[NumericColumn, ...]:
    """Return the columns of series, fitted on the steps that training windows see."""
    import numpy as np

    seen = np.flatnonzero(windows.covered(train))
    found = [
        _number(name, cells[seen], section.standardize)
        for name, cells in windows.columns.items()
        if section.columns.get(name) != "ignore"
    ]
    if not found:
        raise SpecError(f"data.columns: {raw.origin}: no column is left to learn from")
    return tuple(found)


def _number(
    name: str, values: NDArray[np.float64], standardize: bool, bins: int = 0
) -> NumericColumn:
    """Return a numeric column, fitted on values of which NaN are missing."""
    import numpy as np

    value_N = values.astype(np.float32).astype(np.float64)  # as the network sees them
    missing_N = np.isnan(value_N)
    median = float(np.median(value_N[~missing_N])) if not missing_N.all() else 0.0
    filled_N = np.where(missing_N, median, value_N)
    moments = _moments(filled_N[:, None], standardize)
    mean, scale = float(moments.mean[0]), float(moments.deviation[0])
    share_T = np.linspace(0, 1, bins + 1) if bins else np.empty(0)
    return NumericColumn(
        name=name,
        median=median,
        mean=mean,
        scale=scale,
        indicator=bool(missing_N.any()),
        quantiles=tuple(((np.quantile(filled_N, share_T) - mean) / scale).tolist()),
    )


def _item_columns(raw: Raw, train: NDArray[np.int64], section: DataSection) -> tuple[str, ...]:
    from modelscale.data.interactions import columns_of_items

    if section.interactions is None:
        return ()
    return columns_of_items(raw, section.interactions.item, train)


def _texts(
    raw: Raw, train: NDArray[np.int64], roles: Roles, how: TextSection
) -> dict[str, Any]:
    """Return the fields of texts: their columns and the symbols of the training rows."""
    symbols = how.tokenizer.fit(
        text for row in train.tolist() if (text := text_of(raw, roles.text, row))
    )
    return {
        "form": "table",
        "texts": roles.text,
        "symbols": symbols,
        "shape": (how.length,),
        "vocabulary": symbols.size,
    }


def _windows(raw: Raw, train: NDArray[np.int64]) -> Preprocessing:
    """Return the pre-processing of windows of a text: the symbols of the training rows."""
    import numpy as np

    assert raw.array is not None
    assert raw.symbols is not None
    count_W = np.zeros(len(raw.symbols.symbols), dtype=np.int64)
    step = max(1, CHUNK_ROWS * 64 // raw.array.shape[1])
    for start in range(0, len(train), step):
        chunk = np.asarray(raw.array[train[start : start + step]]).reshape(-1)
        count_W += np.bincount(chunk, minlength=len(count_W))
    often = sorted((-int(count_W[i]), raw.symbols.symbols[i]) for i in np.flatnonzero(count_W))
    symbols = raw.symbols.model_copy(
        update={
            "symbols": tuple(symbol for _, symbol in often),
            "counts": (0, 0, *(-count for count, _ in often)),
        }
    )
    return Preprocessing(
        form="tokens",
        task="language_model",
        encoding="codes",
        symbols=symbols,
        shape=tuple(raw.array.shape[1:]),
        vocabulary=symbols.size,
        target_names=raw.target_names,
    )


def _category(raw: Raw, name: str, train: NDArray[np.int64]) -> CategoryColumn:
    import numpy as np

    words, word_N = category_cells(column(raw, name), slice(0, len(raw)))
    used = np.unique(word_N[train])
    return CategoryColumn(name=name, words=tuple(sorted(words[i] for i in used if i >= 0)))


def _refuse_too_many(categories: tuple[CategoryColumn, ...]) -> None:
    """Refuse categories whose 0/1 inputs would fill the memory with zeros."""
    count = sum(len(column.words) for column in categories)
    if count > MOST_ONEHOT:
        widest = max(categories, key=lambda column: len(column.words))
        raise SpecError(
            f"data.columns: {count:,} categories as 0/1 inputs are too many "
            f"({len(widest.words):,} of '{widest.name}'); ignore the column, or use a model "
            "with a vector for each category, such as factorisation_machine"
        )


def _moments(value_ND: NDArray[np.float64], standardize: bool) -> Moments:
    import numpy as np

    width = value_ND.shape[1]
    if not standardize:
        return Moments(np.zeros(width), np.ones(width))
    mean_D = value_ND.mean(axis=0)
    deviation_D = value_ND.std(axis=0)
    flat_D = deviation_D <= FLAT * np.abs(mean_D)
    return Moments(mean_D, np.where(flat_D, 1.0, deviation_D))


def _channels(
    array: NDArray[np.generic], train: NDArray[np.int64], divisor: float, standardize: bool
) -> tuple[Channel, ...]:
    """Return the scaling of each channel or element, in two passes over chunks of rows."""
    import numpy as np

    width = int(array.shape[1])
    if not standardize:
        return (Channel(mean=0.0, scale=1.0),) * width
    over = (0, *range(2, array.ndim))

    def average(shift_D: NDArray[np.float64], power: int) -> NDArray[np.float64]:
        total_D, count = np.zeros(width), 0
        step = max(1, CHUNK_ROWS * 16 // max(1, int(np.prod(array.shape[1:]))))
        for start in range(0, len(train), step):
            chunk = array[train[start : start + step]].astype(np.float64) / divisor
            centred = chunk - shift_D.reshape(1, width, *[1] * (array.ndim - 2))
            total_D += (centred**power).sum(axis=over)
            count += chunk.size // width
        return total_D / max(1, count)

    mean_D = average(np.zeros(width), 1)
    deviation_D = np.sqrt(average(mean_D, 2))
    flat_D = deviation_D <= FLAT * np.abs(mean_D)
    scale_D = np.where(flat_D, 1.0, deviation_D)
    return tuple(
        [Channel(mean=float(mean_D[i]), scale=float(scale_D[i])) for i in range(width)]
    )


def _target_scales(
    raw: Raw, train: NDArray[np.int64], section: DataSection
) -> tuple[TargetScale, ...]:
    log = section.target_transform == "log"
    value_NT = (logarithms(raw) if log else numbers(raw))[train]
    mean_T, deviation_T = _moments(value_NT, section.target_transform != "none")
    return tuple(
        TargetScale(name=name, log=log, mean=float(mean), scale=float(scale))
        for name, mean, scale in zip(raw.target_names, mean_T, deviation_T, strict=True)
    )
