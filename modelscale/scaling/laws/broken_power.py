"""The smoothly broken power law."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from modelscale.scaling.laws.base import LawSpec, stacked


class BrokenPower(LawSpec):
    """loss = E + b x^-c0 prod_i (1 + (x/d_i)^(1/f_i))^(-c_i f_i): slopes that change.

    (BNSL: Caballero et al., arXiv:2210.14891.) Beyond the break at the size `d_i` the slope
    grows by `c_i`, which may be negative, over a range of about `f_i` in log x. With a
    negative slope it describes double descent.
    """

    breaks: int = Field(1, ge=1, le=3)
    """Number of changes of the slope."""

    parameters: ClassVar = ("E", "b", "c0")
    signed: ClassVar = frozenset({"c0", "c1", "c2", "c3"})
    exponents: ClassVar = ("c0",)
    floor: ClassVar = "E"

    def names(self) -> tuple[str, ...]:
        own = (f"{name}{i}" for i in range(1, self.breaks + 1) for name in "cdf")
        return (*self.parameters, *own)

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        E, b, c0 = theta[:3]
        power = np.log(b) - c0 * logs[0]
        for c, d, f in zip(theta[3::3], theta[4::3], theta[5::3], strict=True):
            t = (logs[0] - np.log(d)) / f
            up = np.real(t) > 0
            # log(1 + e^t) without overflow, for complex t too.
            soft = np.where(up, t, 0) + np.log(1 + np.exp(np.where(up, -t, t)))
            power = power - c * f * soft
        return np.log(E + np.exp(power))

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.starting import grid, separable

        low, high = logs[0].min(), logs[0].max()
        inside = np.linspace(low, high, 7)[1:-1]
        slopes = np.array([-0.2, 0.05, 0.3, 0.9])
        places = grid(
            inside, np.array([0.1, 0.5, 1.5]), slopes, np.array([-0.4, 0.0, 0.3, 0.8])
        )
        d, f, c0, c1 = (places[:, i : i + 1] for i in range(4))
        terms = np.exp(-c0 * logs[0] - c1 * f * np.logaddexp(0, (logs[0] - d) / f))
        best, found = separable(np.stack([np.ones_like(terms), terms], -1), loss_M, 16)
        first = [
            found[:, 0],
            found[:, 1],
            c0[best, 0],
            c1[best, 0],
            np.exp(d[best, 0]),
            f[best, 0],
        ]
        for i in range(1, self.breaks):  # further breaks start without an effect
            at = np.exp(low + (i + 0.5) / (self.breaks + 0.5) * (high - low))
            first += [np.full(len(best), 0.01), np.full(len(best), at), np.full(len(best), 0.5)]
        return stacked(*first)

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        import numpy as np

        out = np.array(theta_P, dtype=float)
        out[..., 0] *= loss
        out[..., 1] *= loss * scales[0] ** out[..., 2]
        out[..., 4::3] *= scales[0]
        return out
