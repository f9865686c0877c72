"""The shifted power law."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked


class ShiftedPower(LawSpec):
    """loss = B (1/x + gamma)^c: a power law that levels off at B gamma^c.

    (M3 of Alabdulmohsin et al., arXiv:2209.06640.) `x` is any size, `gamma` one over the size
    where the curve bends, `B` has the loss's unit times that of x to the power c.
    """

    parameters: ClassVar = ("B", "gamma", "c")
    exponents: ClassVar = ("c",)

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        B, gamma, c = theta
        return np.log(B) + c * np.log(np.exp(-logs[0]) + gamma)

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.starting import grid, separable

        places = grid(np.geomspace(0.01, 3, 24), np.geomspace(1e-3, 1e3, 19))
        c, gamma = places[:, :1], places[:, 1:]
        terms = (np.exp(-logs[0]) + gamma) ** c
        best, found = separable(terms[..., None], loss_M, 6)
        return stacked(found[:, 0], gamma[best, 0], c[best, 0])

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        B, gamma, c = (theta_P[..., i] for i in range(3))
        return stacked(B * loss * scales[0] ** c, gamma / scales[0], c)
