"""A trained model from the user's values to answers, as one module that exporters can read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch  # noqa: TID253  # loaded by functions that export alone
from torch import Tensor, nn  # noqa: TID253

from modelscale.export.program import example_batch, traced
from modelscale.export.reading import Answering, answering_network, outputs_of
from modelscale.export.signature import (
    CATEGORIES,
    NUMBERS,
    RECORDINGS,
    SERIES,
    SOURCE,
    WRITTEN,
    Port,
    signature_of,
)

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class Answers(nn.Module):
    """Pre-processing, network, and what the outputs mean.

    One subclass for each set of inputs, since their names are those of `forward`.
    """

    def __init__(self, model: Answering) -> None:
        super().__init__()
        self.inputs = model.preprocessing.module()
        self.network = answering_network(model)
        self._outputs = partial(outputs_of, model)

    def answer(self, raw: Tensor) -> Tensor:
        """Return the answers for rows as `Preprocessing.encode` gives them."""
        return self._outputs(self.network, self.inputs(raw.float()))


class _OfTable(Answers):
    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        return self.answer(torch.cat([numbers, categories.float()], dim=1))


class _OfNumbers(Answers):
    def forward(self, numbers: Tensor) -> Tensor:
        return self.answer(numbers)


class _OfCategories(Answers):
    def forward(self, categories: Tensor) -> Tensor:
        return self.answer(categories)


class _OfImages(Answers):
    def forward(self, images: Tensor) -> Tensor:
        return self.answer(images)


class _OfVectors(Answers):
    def forward(self, vectors: Tensor) -> Tensor:
        return self.answer(vectors)


class _OfSeries(Answers):
    def forward(self, series: Tensor) -> Tensor:
        return self.answer(series)


class _OfRecordings(Answers):
    def forward(self, recordings: Tensor) -> Tensor:
        return self.answer(recordings)


class _OfTokens(Answers):
    def forward(self, tokens: Tensor) -> Tensor:
        return self.answer(tokens)


class _OfTranslations(Answers):
    def forward(self, source: Tensor, written: Tensor) -> Tensor:
        return self.answer(torch.cat([source, written], dim=1))


_BY_INPUTS: dict[tuple[str, ...], type[Answers]] = {
    (NUMBERS, CATEGORIES): _OfTable,
    (NUMBERS,): _OfNumbers,
    (CATEGORIES,): _OfCategories,
    ("images",): _OfImages,
    ("vectors",): _OfVectors,
    (SERIES,): _OfSeries,
    ("tokens",): _OfTokens,
    (RECORDINGS,): _OfRecordings,
    (SOURCE, WRITTEN): _OfTranslations,
}


def answers_of(model: Answering) -> Answers:
    """Return a model with its pre-processing inside; categories are codes.

    Its `forward` takes the inputs of `signature_of(model, text=False)` by name.
    """
    ports = signature_of(model, text=False).inputs
    return _BY_INPUTS[tuple(port.name for port in ports)](model).eval()


def example(ports: tuple[Port, ...], batch: int) -> dict[str, Tensor]:
    """Return inputs of zeros, of the names, shapes and types of the ports."""
    return {
        port.name: torch.zeros((batch, *port.shape), dtype=getattr(torch, port.dtype))
        for port in ports
    }


def graph_of(model: Answering, most: int | None = None) -> ExportedProgram:
    """Return the graph of a model with its pre-processing, of a free batch.

    Args:
        model: On the CPU, in evaluation mode.
        most: Rows of the largest batch that will ever be used, and of the example, by which
            some runtimes plan their memory; inputs are by position then. None for any, and
            inputs by name.

    Raises:
        GateFailed: If there is none; the message says why.
    """
    ports = signature_of(model, text=False).inputs
    longest = ports[0].shape[0] if ports[0].shorter else None
    examples = example(ports, example_batch() if most is None else most)
    module = answers_of(model)
    if most is None:
        return traced(module, examples, longest=longest)
    return traced(module, tuple(examples.values()), most, longest)
