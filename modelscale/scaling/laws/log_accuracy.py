"""A power law of the logarithm of accuracy."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked


class LogAccuracy(LawSpec):
    """-log(1 - error) = E + A x^-alpha: the log-loss behind an accuracy follows a power law.

    For metrics between 0 and 1, given as errors (1 - accuracy): a model that gives the right
    answer the probability e^-L, with L falling as a power of size, is right that often
    (OpenAI, arXiv:2303.08774, on pass rates; Schaeffer et al., arXiv:2304.15004). `E` is the
    same quantity at infinite size, in nats.
    """

    parameters: ClassVar = ("E", "A", "alpha")
    exponents: ClassVar = ("alpha",)
    bounded: ClassVar = True

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        E, A, alpha = theta
        nats = E + A * np.exp(-alpha * logs[0])
        return np.log(1 - np.exp(-nats))

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.laws.power_floor import PowerFloor

        return PowerFloor().starts(logs, -np.log1p(-np.minimum(loss_M, 1 - 1e-9)))

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        assert loss == 1, "errors are not scaled"
        E, A, alpha = (theta_P[..., i] for i in range(3))
        return stacked(E, A * scales[0] ** alpha, alpha)
