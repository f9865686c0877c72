"""A trained model from the user's values to answers, as one module that exporters can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch  # noqa: TID253  # loaded by functions that export alone
from torch import Tensor, nn  # noqa: TID253

from modelscale.export.signature import (
    CATEGORIES,
    NUMBERS,
    RECORDINGS,
    SERIES,
    Port,
    signature_of,
)

if TYPE_CHECKING:
    from modelscale.data.preprocessing import Preprocessing
    from modelscale.tensors import Task


class Answering(Protocol):
    """What can be exported: a single model, or several as one."""

    @property
    def network(self) -> nn.Module:
        """Everything that has parameters, in evaluation mode and on the CPU."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What turns the user's values into the network's inputs."""

    @property
    def task(self) -> Task:
        """What was learnt."""

    def predictions(self, x: Tensor) -> Tensor:
        """Return answers in the user's units for pre-processed x: (N, *inputs.shape)."""


class Answers(nn.Module):
    """Pre-processing, network, and what the outputs mean.

    One subclass for each set of inputs, since their names are those of `forward`.
    """

    def __init__(self, model: Answering) -> None:
        super().__init__()
        self.inputs = model.preprocessing.module()
        self.network = model.network
        self._predictions = model.predictions

    def answer(self, raw: Tensor) -> Tensor:
        """Return the answers for rows as `Preprocessing.encode` gives them."""
        return self._predictions(self.inputs(raw.float()))


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


_BY_INPUTS: dict[tuple[str, ...], type[Answers]] = {
    (NUMBERS, CATEGORIES): _OfTable,
    (NUMBERS,): _OfNumbers,
    (CATEGORIES,): _OfCategories,
    ("images",): _OfImages,
    ("vectors",): _OfVectors,
    (SERIES,): _OfSeries,
    ("tokens",): _OfTokens,
    (RECORDINGS,): _OfRecordings,
}


def answers_of(model: Answering) -> Answers:
    """Return a model with its pre-processing inside; categories are codes.

    Its `forward` takes the inputs of `signature_of(model.preprocessing, text=False)` by name.
    """
    ports = signature_of(model.preprocessing, text=False).inputs
    return _BY_INPUTS[tuple(port.name for port in ports)](model).eval()


def example(ports: tuple[Port, ...], batch: int) -> dict[str, Tensor]:
    """Return inputs of zeros, of the names, shapes and types of the ports."""
    return {
        port.name: torch.zeros((batch, *port.shape), dtype=getattr(torch, port.dtype))
        for port in ports
    }
