"""The exponential approach to a floor."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked


class Exponential(LawSpec):
    """loss = E + A exp(-x / tau): saturation faster than any power.

    (One of the curves of Domhan et al., IJCAI 2015.) `tau` has the unit of x, E and A that of
    the loss. A table that this law ranks first is one where size has stopped to matter.
    """

    parameters: ClassVar = ("E", "A", "tau")
    floor: ClassVar = "E"

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        E, A, tau = theta
        return np.log(E + A * np.exp(-np.exp(logs[0]) / tau))

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.starting import separable

        tau = np.exp(np.linspace(logs[0].min() - 1, logs[0].max() + 2, 60))
        terms = np.exp(-np.exp(logs[0]) / tau[:, None])
        places, found = separable(np.stack([np.ones_like(terms), terms], -1), loss_M)
        return stacked(found[:, 0], found[:, 1], tau[places])

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        E, A, tau = (theta_P[..., i] for i in range(3))
        return stacked(E * loss, A * loss, tau * scales[0])
