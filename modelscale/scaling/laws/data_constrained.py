"""Muennighoff's law of repeated data."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked


class DataConstrained(LawSpec):
    """loss = E + A N'^-alpha + B D'^-beta, where repetitions and excess parameters wear off.

    (Muennighoff et al., arXiv:2305.16264.) Of D tokens seen, U are unique, so R = D/U - 1 are
    repetitions: D' = U (1 + r (1 - e^(-R/r))). In the same way N' = V (1 + s (1 - e^(-Q/s)))
    with Q = max(N/V - 1, 0), V the parameters that are compute-optimal for U unique tokens:
    alpha A V^-alpha = beta B U^-beta. N, D and U are in parameters and tokens (or examples); r
    and s, the numbers of repetitions after which they are worth 1/e, have no unit.
    """

    inputs: ClassVar = ("parameters", "tokens", "unique_tokens")
    parameters: ClassVar = ("A", "B", "E", "alpha", "beta", "r", "s")
    exponents: ClassVar = ("alpha", "beta")
    floor: ClassVar = "E"

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        A, B, E, alpha, beta, r, s = theta
        size, seen, unique = logs
        repeats = np.maximum(np.exp(seen - unique) - 1, 0)
        data = unique + np.log(1 + r * (1 - np.exp(-repeats / r)))
        enough = (np.log(alpha * A / (beta * B)) + beta * unique) / alpha
        above = np.real(size - enough) > 0
        excess = np.where(above, np.exp(np.where(above, size - enough, 0)) - 1, 0)
        worth = np.log(1 + s * (1 - np.exp(-excess / s)))
        effective = np.where(above, enough + worth, size)
        return np.log(E + A * np.exp(-alpha * effective) + B * np.exp(-beta * data))

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.laws.chinchilla import Chinchilla
        from modelscale.scaling.starting import grid

        size, seen, unique = logs
        once = np.exp(seen - unique) < 1.5
        few = 6
        base = Chinchilla().starts((size, seen), loss_M)[:2]
        if once.sum() >= few:
            own = Chinchilla().starts((size[once], seen[once]), loss_M[once])
            base = np.concatenate([own[:2], base])
        more = grid(np.array([1.0, 5.0, 20.0]), np.array([1.0, 5.0, 20.0]))
        return np.concatenate(
            [np.repeat(base, len(more), axis=0), np.tile(more, (len(base), 1))], axis=1
        )

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        A, B, E, alpha, beta, r, s = (theta_P[..., i] for i in range(7))
        size, data = scales[0] ** alpha, scales[1] ** beta
        return stacked(A * loss * size, B * loss * data, E * loss, alpha, beta, r, s)
