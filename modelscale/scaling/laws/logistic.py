"""A logistic curve in the logarithm of size, for bounded metrics."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked


class Logistic(LawSpec):
    """error = E + T / (1 + (x / x0)^k): from E + T, the error of a guess, down to E.

    For metrics between 0 and 1, given as errors (1 - accuracy). A sigmoid in log x, as
    downstream accuracies are fitted by Ruan et al. (arXiv:2405.10938) and Grattafiori et al.
    (arXiv:2407.21783). `x0`, in the unit of x, is where half of T is gained.
    """

    parameters: ClassVar = ("E", "T", "x0", "k")
    exponents: ClassVar = ("k",)
    floor: ClassVar = "E"
    bounded: ClassVar = True

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        E, T, x0, k = theta
        t = k * (logs[0] - np.log(x0))
        up = np.real(t) > 0
        small = np.exp(np.where(up, -t, t))
        return np.log(E + T * np.where(up, small, 1) / (1 + small))

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.starting import grid, separable

        low, high = logs[0].min(), logs[0].max()
        places = grid(np.linspace(low - 1, high + 1, 16), np.geomspace(0.1, 5, 16))
        x0, k = places[:, :1], places[:, 1:]
        terms = 1 / (1 + np.exp(np.clip(k * (logs[0] - x0), -50, 50)))
        best, found = separable(np.stack([np.ones_like(terms), terms], -1), loss_M, 8)
        return stacked(found[:, 0], found[:, 1], np.exp(x0[best, 0]), k[best, 0])

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        E, T, x0, k = (theta_P[..., i] for i in range(4))
        return stacked(E * loss, T * loss, x0 * scales[0], k)
