"""What goes into an exported file and what comes out: names, types, units."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from modelscale.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.raw import Raw

DType = Literal["float32", "int64", "uint8", "string"]
CATEGORIES = "categories"
NUMBERS = "numbers"
SERIES = "series"
PRESENT = "is a step"
RECORDINGS = "recordings"
PROBABILITIES = "probabilities"
VALUES = "values"


@dataclass(frozen=True)
class Port:
    """One named input or output.

    Attributes:
        name: In the file.
        dtype: Of its elements.
        shape: Of one example; the batch comes before it.
        columns: Names of the D elements of shape (D,), where they have any; for series those
            of the channels, the last of which is 1 at each step and 0 in padding.
        words: For category codes, the words of each column: word i has code i + 1, and 0 is
            for a missing or any other one.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Signature:
    """Everything that a caller of an exported file has to know.

    Attributes:
        inputs: The user's values: numbers in the units of the data (NaN is a missing cell),
            categories as texts or codes, images as bytes where the training images were,
            long texts as numbers of their symbols, recordings as samples of the model's rate
            (full scale being 1, NaN behind the end).
        output: Class probabilities, or target values in the units of the data.
    """

    inputs: tuple[Port, ...]
    output: Port

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the file's metadata."""
        return asdict(self)


def signature_of(preprocessing: Preprocessing, *, text: bool) -> Signature:
    """Return what an exported model takes and gives.

    Args:
        preprocessing: The model's.
        text: Whether the format can take categories as texts; otherwise they are codes.
    """
    if preprocessing.task == "classification":
        names, output = preprocessing.labels, PROBABILITIES
    else:
        names, output = preprocessing.target_names, VALUES
    answer = Port(output, "float32", (len(names),), names)
    return Signature(_inputs(preprocessing, text=text), answer)


def _inputs(preprocessing: Preprocessing, *, text: bool) -> tuple[Port, ...]:
    shape = preprocessing.shape
    if preprocessing.form == "tokens" or preprocessing.texts:
        return (Port("tokens", "int64", shape),)
    if preprocessing.form == "series":
        names = (*(column.name for column in preprocessing.numeric), PRESENT)
        return (Port(SERIES, "float32", (len(names), *shape), names),)
    if preprocessing.form == "audio":
        return (Port(RECORDINGS, "float32", shape),)
    if preprocessing.form == "array":
        name = "images" if len(shape) == 3 else "vectors"
        return (Port(name, "uint8" if preprocessing.divisor != 1 else "float32", shape),)
    ports = []
    numeric = tuple(column.name for column in preprocessing.numeric)
    if numeric:
        ports.append(Port(NUMBERS, "float32", (len(numeric),), numeric))
    if preprocessing.categories:
        ports.append(
            Port(
                CATEGORIES,
                "string" if text else "int64",
                (len(preprocessing.categories),),
                tuple(column.name for column in preprocessing.categories),
                tuple(column.words for column in preprocessing.categories),
            )
        )
    return tuple(ports)


def user_values(
    preprocessing: Preprocessing, raw: Raw, signature: Signature, start: int, stop: int
) -> dict[str, NDArray[Any]]:
    """Return rows `start` to `stop` as an exported file takes them, by input.

    Texts come as the data has them, not by way of the codes that training saw, so that a
    comparison covers the lookup as well.

    Raises:
        DataError: If the rows are not what the model takes.
    """
    import numpy as np

    encoded = preprocessing.encode(raw, start, stop)  # checks them
    numbers = len(preprocessing.numeric)
    values: dict[str, NDArray[Any]] = {}
    for port in signature.inputs:
        if port.name == NUMBERS:
            values[port.name] = np.ascontiguousarray(encoded[:, :numbers])
        elif port.name == CATEGORIES and port.dtype == "int64":
            values[port.name] = encoded[:, numbers:].astype(np.int64)
        elif port.name == CATEGORIES:
            values[port.name] = _texts(raw, port, slice(start, stop))
        elif port.name == SERIES:
            values[port.name] = encoded  # NaN is a missing cell, or padding
        else:
            cast = encoded.astype(port.dtype)
            if not np.array_equal(cast, encoded, equal_nan=port.dtype == "float32"):
                raise DataError(f"{raw.origin}: values that are not {port.dtype}")
            values[port.name] = cast
    return values


def _texts(raw: Raw, port: Port, span: slice) -> NDArray[np.object_]:
    """Return the cells of category columns, (N, columns), as text."""
    import numpy as np

    from modelscale.data.encoding import category_cells, column

    table = np.empty((span.stop - span.start, len(port.columns)), dtype=object)
    for place, (name, known) in enumerate(zip(port.columns, port.words, strict=True)):
        words, word_N = category_cells(column(raw, name), span)
        word_W = np.array([*words, missing_text(known)], dtype=object)
        table[:, place] = word_W[word_N]  # -1, a missing cell, takes the last
    return table


def missing_text(words: tuple[str, ...]) -> str:
    """Return a text that stands for a missing cell: the empty one, unless it is a category."""
    text = ""
    while text in words:
        text += "?"
    return text
