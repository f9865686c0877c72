"""Chinchilla's law with a cross term."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked


class CrossTerm(LawSpec):
    """loss = E + A N^-alpha + B D^-beta + F N^-alpha D^-beta.

    With A = B = 0 it is the multiplicative law of Zhang et al. (arXiv:2402.17193), with F = 0
    Chinchilla's: the size of F says whether parameters and data (tokens or examples) help each
    other. A, B, E and F are not negative.
    """

    inputs: ClassVar = ("parameters", "tokens")
    parameters: ClassVar = ("A", "B", "E", "F", "alpha", "beta")
    exponents: ClassVar = ("alpha", "beta")
    floor: ClassVar = "E"

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        A, B, E, F, alpha, beta = theta
        size, data = np.exp(-alpha * logs[0]), np.exp(-beta * logs[1])
        return np.log(E + A * size + B * data + F * size * data)

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.starting import grid, separable

        places = grid(np.linspace(0.05, 1.2, 16), np.linspace(0.05, 1.2, 16))
        size = np.exp(-places[:, :1] * logs[0])
        data = np.exp(-places[:, 1:] * logs[1])
        terms = np.stack([size, data, np.ones_like(size), size * data], -1)
        best, found = separable(terms, loss_M, 6)
        return stacked(*found.T, *places[best].T)

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        A, B, E, F, alpha, beta = (theta_P[..., i] for i in range(6))
        size, data = scales[0] ** alpha, scales[1] ** beta
        return stacked(
            A * loss * size, B * loss * data, E * loss, F * loss * size * data, alpha, beta
        )
