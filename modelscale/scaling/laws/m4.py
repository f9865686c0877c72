"""Alabdulmohsin's law with a start, a power and a floor."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked

_NEWTON_STEPS = 12


class M4(LawSpec):
    """(loss - E) / (E0 - loss)^a = b x^-c: from the loss E0 of a guess down to the floor E.

    (M4 of Alabdulmohsin et al., arXiv:2209.06640.) `x` is any size, E and E0 have the loss's
    unit, a and c none. The loss is the one root between E and E0.
    """

    parameters: ClassVar = ("E", "E0", "a", "b", "c")
    exponents: ClassVar = ("c",)
    floor: ClassVar = "E"

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        E, E0, a, b, c = theta
        wanted = np.log(b) - c * logs[0]
        # t is the logit of the root's place between floor and start; the left side rises in it.
        goal, power, span = np.real(wanted), np.real(a), np.real(E0 - E)
        with np.errstate(all="ignore"):
            known = goal - (1 - power) * np.log(np.maximum(span, 1e-300))
            # Of slope between 1 and a and bent one way only: Newton's method does not stray.
            t = known / np.where(known > 0, power, 1.0)
            for _ in range(_NEWTON_STEPS):
                small = np.exp(-np.abs(t))
                up, down = (
                    np.maximum(t, 0) + np.log1p(small),
                    np.maximum(-t, 0) + np.log1p(small),
                )
                share = np.where(t > 0, 1, small) / (1 + small)
                t = t - (power * up - down - known) / (1 - share + power * share)
            loss = np.real(E) + span / (1 + np.exp(-t))
            # One Newton step carries the derivatives by the parameters.
            left = np.log(loss - E) - a * np.log(E0 - loss)
            slope = 1 / (loss - np.real(E)) + power / (np.real(E0) - loss)
            result = np.log(loss - (left - wanted) / slope)
        return np.where(span > 0, result, np.nan)

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.laws.power_floor import PowerFloor

        base = PowerFloor().starts(logs, loss_M)[:2]
        found = []
        for E, _, alpha in base:
            E = min(E, 0.95 * loss_M.min())
            for over in (1.02, 1.5):
                E0 = over * loss_M.max()
                for a in (0.1, 1.0):
                    gap = np.median((loss_M - E) / (E0 - loss_M) ** a * np.exp(alpha * logs[0]))
                    found.append((E, E0, a, max(gap, 1e-6), alpha))
        return np.array(found)

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        E, E0, a, b, c = (theta_P[..., i] for i in range(5))
        return stacked(E * loss, E0 * loss, a, b * scales[0] ** c * loss ** (1 - a), c)
