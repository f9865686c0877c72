"""Gadre's law of compute and over-training."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked


class Overtraining(LawSpec):
    """loss = E + (a M^eta + b M^-eta) C^-eta with M = D/N tokens a parameter and C = 6 N D.

    (Gadre et al., arXiv:2403.08540.) At any fixed ratio M it is a power law of compute with
    one exponent: Chinchilla's law with alpha = beta = 2 eta. C is in FLOPs.
    """

    inputs: ClassVar = ("parameters", "tokens")
    parameters: ClassVar = ("a", "b", "E", "eta")
    exponents: ClassVar = ("eta",)
    floor: ClassVar = "E"

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        a, b, E, eta = theta
        size, data = np.exp(-2 * eta * logs[0]), np.exp(-2 * eta * logs[1])
        return np.log(E + 6**-eta * (a * size + b * data))

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.starting import separable

        eta = np.geomspace(0.01, 1, 60)
        scale = 6.0 ** -eta[:, None]
        size, data = (scale * np.exp(-2 * eta[:, None] * log) for log in logs)
        best, found = separable(np.stack([size, data, np.ones_like(size)], -1), loss_M)
        return stacked(*found.T, eta[best])

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        a, b, E, eta = (theta_P[..., i] for i in range(4))
        size, data = (scale ** (2 * eta) for scale in scales)
        return stacked(a * loss * size, b * loss * data, E * loss, eta)
