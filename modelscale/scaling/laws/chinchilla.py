"""Chinchilla's law of parameters and tokens."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked


class Chinchilla(LawSpec):
    """loss = E + A N^-alpha + B D^-beta.

    (Approach 3 of Hoffmann et al., arXiv:2203.15556.) N are parameters, D training tokens or
    examples, E is the loss of the ideal model (the entropy of the data, in the loss's unit).
    Under a budget C = 6 N D it has the optimum N = G (C/6)^(beta/(alpha+beta)),
    G = (alpha A / (beta B))^(1/(alpha+beta)).
    """

    inputs: ClassVar = ("parameters", "tokens")
    parameters: ClassVar = ("A", "B", "E", "alpha", "beta")
    exponents: ClassVar = ("alpha", "beta")
    floor: ClassVar = "E"

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        A, B, E, alpha, beta = theta
        return np.log(E + A * np.exp(-alpha * logs[0]) + B * np.exp(-beta * logs[1]))

    def with_slopes(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        A, B, E, alpha, beta = theta
        size, data = np.exp(-alpha * logs[0]), np.exp(-beta * logs[1])
        loss = E + A * size + B * data
        share = 1 / loss
        by_size, by_data = size * share, data * share
        return np.log(loss), [
            by_size,
            by_data,
            share,
            -A * by_size * logs[0],
            -B * by_data * logs[1],
        ]

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.starting import grid, separable

        places = grid(np.linspace(0.05, 1.2, 25), np.linspace(0.05, 1.2, 25))
        size = np.exp(-places[:, :1] * logs[0])
        data = np.exp(-places[:, 1:] * logs[1])
        terms = np.stack([size, data, np.ones_like(size)], -1)
        best, found = separable(terms, loss_M, 3)
        return stacked(*found.T, *places[best].T)

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        A, B, E, alpha, beta = (theta_P[..., i] for i in range(5))
        size, data = scales
        return stacked(A * loss * size**alpha, B * loss * data**beta, E * loss, alpha, beta)
