"""The power law with a floor."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked


class PowerFloor(LawSpec):
    """loss = E + A x^-alpha: what is left when size grows without end is E.

    (M2 of Alabdulmohsin et al., arXiv:2209.06640; Hestness et al., arXiv:1712.00409.) `x` is
    any size; `E` and `A` have the loss's unit, `alpha` none.
    """

    parameters: ClassVar = ("E", "A", "alpha")
    exponents: ClassVar = ("alpha",)
    floor: ClassVar = "E"

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        E, A, alpha = theta
        return np.log(E + A * np.exp(-alpha * logs[0]))

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.starting import separable

        alpha = np.geomspace(0.02, 3, 60)
        terms = np.exp(-alpha[:, None] * logs[0])
        places, found = separable(np.stack([np.ones_like(terms), terms], -1), loss_M)
        return stacked(found[:, 0], found[:, 1], alpha[places])

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        E, A, alpha = (theta_P[..., i] for i in range(3))
        return stacked(E * loss, A * loss * scales[0] ** alpha, alpha)
