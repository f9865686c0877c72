"""The power law."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked


class Power(LawSpec):
    """loss = A x^-alpha: a straight line in logarithms, without a floor.

    (M1 of Alabdulmohsin et al., arXiv:2209.06640; Hestness et al., arXiv:1712.00409.) `x` is
    any size (parameters, tokens, examples, FLOPs), `A` the loss at x = 1, in the loss's unit.
    """

    parameters: ClassVar = ("A", "alpha")
    exponents: ClassVar = ("alpha",)

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        A, alpha = theta
        return np.log(A) - alpha * logs[0]

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.starting import separable

        alpha = np.geomspace(0.01, 3, 40)
        places, A = separable(np.exp(-alpha[:, None] * logs[0])[..., None], loss_M, 2)
        return stacked(A[:, 0], alpha[places])

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        A, alpha = theta_P[..., 0], theta_P[..., 1]
        return stacked(A * loss * scales[0] ** alpha, alpha)
