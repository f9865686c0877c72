"""What goes into an exported file and what comes out: names, types, units."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from modelscale.errors import DataError
from modelscale.export.reading import takes_shorter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.raw import Raw
    from modelscale.export.reading import Answering

DType = Literal["float32", "int64", "uint8", "string"]
CATEGORIES = "categories"
NUMBERS = "numbers"
SERIES = "series"
PRESENT = "is a step"
RECORDINGS = "recordings"
SOURCE = "source"
WRITTEN = "written"
PROBABILITIES = "probabilities"
VALUES = "values"
LOGITS = "logits"


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
        shorter: Whether a call may have fewer than `shape[0]` positions.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()
    shorter: bool = False


@dataclass(frozen=True)
class Signature:
    """Everything that a caller of an exported file has to know.

    Attributes:
        inputs: The user's values: numbers in the units of the data (NaN is a missing cell),
            categories as texts or codes, images as bytes where the training images were,
            long texts as numbers of their symbols, recordings as samples of the model's rate
            (full scale being 1, NaN behind the end). Of a translation, the symbols of the
            source and those written so far, 0 behind them.
        output: Class probabilities, or target values in the units of the data; of a language
            model the logits of what follows each position, of what is said those of each
            frame, of a translation those of each symbol by the ones before it; by the numbers
            of the symbols.
    """

    inputs: tuple[Port, ...]
    output: Port

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the file's metadata."""
        return asdict(self)


def signature_of(model: Answering, *, text: bool) -> Signature:
    """Return what an exported model takes and gives.

    Args:
        model: On the CPU.
        text: Whether the format can take categories as texts; otherwise they are codes.
    """
    preprocessing = model.preprocessing
    if model.task == "language_model":
        return _of_stream(model)
    inputs = _inputs(preprocessing, text=text)
    if model.task == "transcription":
        return Signature(inputs, Port(LOGITS, "float32", _frames(model)))
    if model.task == "translation":
        positions = (preprocessing.written_length, preprocessing.outputs)
        return Signature(inputs, Port(LOGITS, "float32", positions))
    if preprocessing.task == "classification":
        names, output = preprocessing.labels, PROBABILITIES
    else:
        names, output = preprocessing.target_names, VALUES
    return Signature(inputs, Port(output, "float32", (len(names),), names))


def _of_stream(model: Answering) -> Signature:
    """Return the signature of what predicts each next symbol of a text."""
    preprocessing, free = model.preprocessing, takes_shorter(model)
    vocabulary = preprocessing.inputs().vocabulary
    assert vocabulary is not None
    positions = preprocessing.shape[0] - 1  # the last symbol of a window is only predicted
    return Signature(
        (Port("tokens", "int64", (positions,), shorter=free),),
        Port(LOGITS, "float32", (positions, vocabulary), shorter=free),
    )


def _frames(model: Answering) -> tuple[int, ...]:
    """Return the shape (frames, symbols) of what a network writes."""
    import torch

    with torch.no_grad():
        outputs: torch.Tensor = model.network(
            torch.zeros(1, *model.preprocessing.inputs().shape)
        )
    return tuple(outputs.shape[1:])


def _inputs(preprocessing: Preprocessing, *, text: bool) -> tuple[Port, ...]:
    shape = preprocessing.shape
    if preprocessing.written is not None:
        return (
            Port(SOURCE, "int64", shape),
            Port(WRITTEN, "int64", (preprocessing.written_length,)),
        )
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
    if preprocessing.task == "language_model":
        encoded = encoded[:, :-1]
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
            part = _own_part(port, encoded)
            cast = part.astype(port.dtype)
            if not np.array_equal(cast, part, equal_nan=port.dtype == "float32"):
                raise DataError(f"{raw.origin}: values that are not {port.dtype}")
            values[port.name] = cast
    return values


def _own_part(port: Port, encoded: NDArray[Any]) -> NDArray[Any]:
    """Return a port's part of encoded rows: of a translation one of the two texts."""
    if port.name == SOURCE:
        return encoded[:, : port.shape[0]]
    return encoded[:, -port.shape[0] :] if port.name == WRITTEN else encoded


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
