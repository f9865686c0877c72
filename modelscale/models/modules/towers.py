"""Towers of users and items, and the models that join their vectors."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn

from modelscale.models.modules.dropout import Dropout
from modelscale.models.modules.factors import SPREAD, CategoryTable
from modelscale.tensors import Inputs


def relu_layers(width: int, hidden: tuple[int, ...], dropout: float) -> list[nn.Module]:
    """Return ReLU layers with dropout, from `width` values on."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]
        layers += [Dropout(dropout)] if dropout > 0 else []
        width = units
    return layers


class Tower(nn.Module):
    """Some columns of a table as one vector."""

    def __init__(
        self,
        places: list[int],
        inputs: Inputs,
        factors: int,
        hidden: tuple[int, ...],
        width: int,
        dropout: float,
    ) -> None:
        """Make it of the columns at `places`; every category has `factors` values of its own.

        Without hidden layers, `factors` must be `width`.
        """
        super().__init__()
        plain = inputs.shape[0] - len(inputs.categories)
        self.numbers = [place for place in places if place < plain]
        self.codes = [place for place in places if place >= plain]
        sizes = tuple(inputs.categories[place - plain] for place in self.codes)
        self.table = CategoryTable(sizes, factors, SPREAD) if sizes else None
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.layers: nn.Module | None = None
        self.slopes: nn.Module | None = None
        if hidden:
            first = len(self.numbers) + len(self.codes) * factors
            body = relu_layers(first, hidden, dropout)
            self.layers = nn.Sequential(*body, nn.Linear(hidden[-1], width))
        elif self.numbers:
            self.slopes = nn.Linear(len(self.numbers), width, bias=False)
            nn.init.normal_(self.slopes.weight, std=SPREAD * len(self.numbers) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, width) of x: (batch, all columns)."""
        numbers = x[:, self.numbers]
        parts = [] if self.table is None else [self.drop(self.table(x[:, self.codes]))]
        if self.layers is not None:
            out: Tensor = self.layers(torch.cat([numbers, *[p.flatten(1) for p in parts]], 1))
            return out
        summed: list[Tensor] = [part.sum(1) for part in parts]
        if self.slopes is not None:
            summed.append(self.slopes(numbers))
        return summed[0] if len(summed) == 1 else summed[0] + summed[1]


class Towers(nn.Module):
    """The product of the vectors of user and item, plus a bias of the item's categories."""

    def __init__(
        self,
        inputs: Inputs,
        factors: int,
        hidden: tuple[int, ...],
        outputs: int,
        dropout: float,
    ) -> None:
        """Make two towers whose vectors have `factors` values for each of `outputs`."""
        super().__init__()
        own = list(inputs.of_item)
        others = [place for place in range(inputs.shape[0]) if place not in inputs.of_item]
        size, width = (factors, factors * outputs) if hidden else (factors * outputs,) * 2
        self.outputs = outputs
        self.of_user = Tower(others, inputs, size, hidden, width, dropout)
        self.of_item = Tower(own, inputs, size, hidden, width, dropout)
        plain = inputs.shape[0] - len(inputs.categories)
        self.own_codes = [place for place in own if place >= plain]
        sizes = tuple(inputs.categories[place - plain] for place in self.own_codes)
        self.mean = nn.Parameter(torch.zeros(outputs))
        self.biases = CategoryTable(sizes, outputs, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs) of x: (batch, columns), category codes last."""
        matched = (self.of_user(x) * self.of_item(x)).unflatten(1, (self.outputs, -1)).sum(-1)
        out: Tensor = self.mean + self.biases(x[:, self.own_codes]).sum(1) + matched
        return out


class NeuralPair(nn.Module):
    """Neural matrix factorisation: a product of factors beside a perceptron on others."""

    def __init__(
        self,
        categories: tuple[int, ...],
        factors: int,
        hidden: tuple[int, ...],
        outputs: int,
        dropout: float,
    ) -> None:
        """Make it for two columns of codes, with `factors` for product and layers."""
        super().__init__()
        self.products = CategoryTable(categories, factors, SPREAD)
        self.vectors = CategoryTable(categories, factors, SPREAD)
        self.drop = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.layers = nn.Sequential(*relu_layers(2 * factors, hidden, dropout))
        last = hidden[-1] if hidden else 2 * factors
        self.biases = CategoryTable(categories, outputs, 0.0)
        self.answer = nn.Linear(factors + last, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs) of x: (batch, 2), category codes as floats."""
        of_first, of_second = self.products(x).unbind(1)
        deep = self.layers(self.drop(self.vectors(x).flatten(1)))
        joined = torch.cat([self.drop(of_first * of_second), deep], 1)
        out: Tensor = self.answer(joined) + self.biases(x).sum(1)
        return out


class DotInteractions(nn.Module):
    """Vectors of categories and of all numbers together, their products, and a perceptron."""

    def __init__(
        self,
        inputs: Inputs,
        factors: int,
        bottom: tuple[int, ...],
        top: tuple[int, ...],
        outputs: int,
        dropout: float,
    ) -> None:
        """Make it; `bottom` are the layers on numbers, `top` those on the products."""
        super().__init__()
        self.numbers = inputs.shape[0] - len(inputs.categories)
        self.table = CategoryTable(inputs.categories, factors, SPREAD)
        vectors = len(inputs.categories) + (self.numbers > 0)
        self.bottom: nn.Module | None = None
        if self.numbers:
            body = relu_layers(self.numbers, bottom, dropout)
            width = bottom[-1] if bottom else self.numbers
            self.bottom = nn.Sequential(*body, nn.Linear(width, factors))
        pairs = list(combinations(range(vectors), 2))
        self.first = [first for first, _ in pairs]
        self.second = [second for _, second in pairs]
        width = len(pairs) + vectors * factors
        body = relu_layers(width, top, dropout)
        self.top = nn.Sequential(*body, nn.Linear(top[-1] if top else width, outputs))
        self.biases = CategoryTable(inputs.categories, outputs, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs) of x: (batch, columns), category codes last."""
        codes = x[:, self.numbers :]
        vectors = self.table(codes)
        if self.bottom is not None:
            of_numbers = self.bottom(x[:, : self.numbers]).unsqueeze(1)
            vectors = torch.cat([of_numbers, vectors], 1)
        products = vectors @ vectors.mT
        pairs = products[:, self.first, self.second]
        deep = self.top(torch.cat([vectors.flatten(1), pairs], 1))
        out: Tensor = deep + self.biases(codes).sum(1)
        return out
