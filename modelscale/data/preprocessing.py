"""Pre-processing as data: what was learnt from the training rows, written into checkpoints.

`fit` is in `fitting.py`; here is what the fitted numbers do. `encode` turns the user's values
into one float32 array (text becomes category codes), `module` is the rest as a network of
plain tensor operations, so that an exported artifact can carry it.
"""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from modelscale.data.spectra import Spectra
from modelscale.data.vocabulary import Vocabulary
from modelscale.errors import DataError
from modelscale.spec.base import Spec
from modelscale.tensors import Encoding, Inputs, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from modelscale.data.raw import Raw


class NumericColumn(Spec):
    """A numeric column of a table."""

    name: str
    """Its name in the file."""

    median: float
    """What a missing cell is taken for."""

    mean: float
    """Subtracted from every value."""

    scale: float = Field(gt=0)
    """Every value is divided by it."""

    indicator: bool
    """Whether an input says, by 0 or 1, that the cell was missing."""

    quantiles: tuple[float, ...] = ()
    """Edges of bins of equally many training rows, as scaled; for models that ask for them."""


class CategoryColumn(Spec):
    """A column of categories of a table."""

    name: str
    """Its name in the file."""

    words: tuple[str, ...]
    """The categories of the training rows; word i has code i + 1, and 0 is for any other."""


class Channel(Spec):
    """A channel of an image, or an element of a vector."""

    mean: float
    """Subtracted from every value."""

    scale: float = Field(gt=0)
    """Every value is divided by it."""


class TargetScale(Spec):
    """How a regression target is transformed for training: (f(y) - mean) / scale."""

    name: str
    """Its name in the file."""

    log: bool
    """Whether f is the natural logarithm; else f does nothing."""

    mean: float
    """Subtracted."""

    scale: float = Field(gt=0)
    """Divides."""


class Preprocessing(Spec):
    """What turns a user's values into network inputs, and outputs back into answers."""

    form: Literal["table", "array", "tokens", "series", "audio"]
    """What the data is: named columns (also of texts), images or vectors, token numbers,
    windows of series, or recordings."""

    task: Task
    """What is learnt."""

    encoding: Encoding
    """How categories reach the network."""

    numeric: tuple[NumericColumn, ...] = ()
    """Numeric columns, in the order of the inputs."""

    categories: tuple[CategoryColumn, ...] = ()
    """Category columns, in the order of the inputs."""

    item_columns: tuple[str, ...] = ()
    """Columns that describe the item, for interactions."""

    texts: tuple[str, ...] = ()
    """Columns of long texts, which are the whole input: one after the other, as symbols."""

    symbols: Vocabulary | None = None
    """How texts become symbols; None where there are none."""

    shape: tuple[int, ...] = ()
    """Shape of one example of an array, text or series: (channels, height, width), (D,),
    (positions,), or (samples,) of a recording."""

    divisor: float = Field(1.0, gt=0)
    """Stored values are divided by it first: 255 for images of bytes."""

    channels: tuple[Channel, ...] = ()
    """Scaling of an array's channels or elements, or of a spectrum's bands."""

    spectra: Spectra | None = None
    """How recordings become spectra."""

    transcript: Vocabulary | None = None
    """Symbols of what is said: number 0 is the blank, 1 what is not known."""

    written: Vocabulary | None = None
    """Symbols of what a translation writes; the number behind the last one is the end."""

    written_length: int = 0
    """Symbols that a translation has at most, the end being one."""

    vocabulary: int | None = None
    """Number of symbols of tokens."""

    labels: tuple[str, ...] = ()
    """Classes, in the order of the network's outputs; empty for regression."""

    targets: tuple[TargetScale, ...] = ()
    """Regression targets, in the order of the network's outputs."""

    target_names: tuple[str, ...] = ()
    """Columns of the target."""

    adopted: bool = False
    """Whether it is a checkpoint's that training began with, not fitted on these data."""

    def to_json(self) -> dict[str, Any]:
        """Return a document that JSON can hold; numbers survive exactly."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Preprocessing:
        """Return the pre-processing that `to_json` wrote.

        Raises:
            DataError: If the document is not one.
        """
        try:
            return cls.model_validate_json(json.dumps(document))
        except (ValidationError, TypeError, ValueError) as error:
            reason = str(error).splitlines()
            raise DataError(
                f"pre-processing: not understood: {'; '.join(reason[:3])}"
            ) from None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the encoded array, in order; empty for arrays and texts."""
        return (*(c.name for c in self.numeric), *(c.name for c in self.categories))

    @property
    def outputs(self) -> int:
        """Number of classes, target values, symbols to write, or symbols of a window."""
        if self.transcript is not None:
            return self.transcript.size
        if self.written is not None:
            return self.written.size + 1
        if self.task == "language_model":
            return self.shape[0] - 1
        if self.task == "ranking":
            return 1
        if self.task == "pretraining":  # as many as tell all of an example
            inputs = self.inputs()
            numbers = prod(inputs.shape) - len(inputs.categories)
            return inputs.vocabulary or numbers + sum(inputs.categories)
        return len(self.labels) if self.task == "classification" else len(self.targets)

    def inputs(self) -> Inputs:
        """Return what one example looks like to the network."""
        if self.form == "series":
            marked = sum(c.indicator for c in self.numeric)
            return Inputs((len(self.numeric) + marked + 1, *self.shape))
        if self.spectra is not None:
            return Inputs((1, self.spectra.bands, self.spectra.frames(self.shape[0])))
        if self.written is not None:
            length, written = self.shape[0], self.written_length
            return Inputs((length + written,), vocabulary=self.vocabulary, written=written)
        if self.form != "table" or self.texts:
            return Inputs(self.shape, vocabulary=self.vocabulary)
        sizes = tuple(len(c.words) + 1 for c in self.categories)
        plain = len(self.numeric) + sum(c.indicator for c in self.numeric)
        edges = tuple(c.quantiles for c in self.numeric if c.quantiles)
        if self.encoding == "onehot":
            return Inputs((plain + sum(sizes),), quantiles=edges)
        of_item = tuple(i for i, name in enumerate(self._inputs()) if name in self.item_columns)
        return Inputs((plain + len(sizes),), categories=sizes, quantiles=edges, of_item=of_item)

    def _inputs(self) -> tuple[str, ...]:
        """Return the column behind each input of a table in `codes` encoding."""
        marked = (c.name for c in self.numeric if c.indicator)
        numbers = (c.name for c in self.numeric)
        return (*numbers, *marked, *(c.name for c in self.categories))

    def encode(self, raw: Raw, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Return rows `start` to `stop` as the module takes them.

        Returns:
            (N, columns) float32 for tables: numeric columns, where NaN is missing, then
            category codes, where 0 is missing or unknown. (N, *shape) float32 for arrays.
            (N, positions) for texts: numbers of symbols, 0 behind a text's end, and for
            translations those of what is to be written behind those of what is read. For series
            (N, D + 1, positions): columns, where NaN is missing, and 1 where a step is.
            (N, samples) for recordings, NaN behind the end.

        Raises:
            DataError: If a column is missing or numeric where text was, or a shape differs.
        """
        from modelscale.data.encoding import encode

        return encode(self, raw, start, stop)

    def encode_target(self, raw: Raw) -> Tensor:
        """Return (N,) int64 class indices, or (N, T) float32 transformed target values.

        For windows of a text, (N, 1) nats a symbol of the plainest model, which knows how
        often each symbol occurs and nothing else. For pre-training, (N, 1) zeros. For what is
        said, (N, L) int64 numbers of symbols, 0 behind the end. For translations, (N, T + L)
        int64: numbers of symbols, then the letters of the true text.

        Raises:
            DataError: If a class is not among the labels, or a logarithm does not exist.
        """
        from modelscale.data.encoding import encode_target

        return encode_target(self, raw)

    def module(self) -> nn.Module:
        """Return what maps the encoded array to the network's inputs.

        A module from what `encode` returns to (N, *inputs.shape) float32.
        """
        from modelscale.data.preprocessing_module import (
            ArrayInputs,
            SeriesInputs,
            TableInputs,
            TokenInputs,
        )

        if self.form == "audio":
            from modelscale.data.mel import MelInputs

            return MelInputs(self)
        if self.form == "table" and not self.texts:
            return TableInputs(self)
        if self.form == "series":
            return SeriesInputs(self)
        return ArrayInputs(self) if self.form == "array" else TokenInputs()

    def tensors(self) -> dict[str, Tensor]:
        """Return the module's buffers by name."""
        return dict(self.module().named_buffers())

    def inverse_target(self, values: Tensor) -> Tensor:
        """Return regression outputs (…, T) in the unit of the data; nats and scores stay.

        Of numbers of symbols (…, L), the text: (…, P) code points, to be read without zeros.
        Of translations (…, T + L), how many symbols there are and the letters: (…, 1 + L).
        """
        import torch

        if self.written is not None:
            from modelscale.data.pairs import references

            return references(self, values)

        if self.transcript is not None:
            from modelscale.data.sound_fitting import letters_of

            table_VM = torch.from_numpy(letters_of(self.transcript)).to(values.device)
            return table_VM[values.long()].flatten(-2)

        if self.task in {"language_model", "pretraining", "ranking"}:
            return values
        scale_T = values.new_tensor([t.scale for t in self.targets])
        mean_T = values.new_tensor([t.mean for t in self.targets])
        log_T = torch.tensor([t.log for t in self.targets], device=values.device)
        plain = values * scale_T + mean_T
        return torch.where(log_T, plain.exp(), plain)
