"""Kaplan's law of parameters and tokens."""

from __future__ import annotations

from typing import Any, ClassVar

from modelscale.scaling.laws.base import LawSpec, stacked


class Kaplan(LawSpec):
    """loss = ((Nc / N)^(alpha_N / alpha_D) + Dc / D)^alpha_D, without a floor.

    (Equation 1.5 of Kaplan et al., arXiv:2001.08361.) N are parameters (in the paper without
    embeddings), D tokens, Nc and Dc have the units of N and D for a loss in nats.
    """

    inputs: ClassVar = ("parameters", "tokens")
    parameters: ClassVar = ("Nc", "Dc", "alpha_N", "alpha_D")
    exponents: ClassVar = ("alpha_N", "alpha_D")

    def log_loss(self, theta: Any, *logs: Any) -> Any:
        import numpy as np

        Nc, Dc, alpha_N, alpha_D = theta
        size = np.exp((np.log(Nc) - logs[0]) * alpha_N / alpha_D)
        return alpha_D * np.log(size + np.exp(np.log(Dc) - logs[1]))

    def starts(self, logs: Any, loss_M: Any) -> Any:
        import numpy as np

        from modelscale.scaling.starting import grid, separable

        places = grid(np.geomspace(0.02, 1.5, 16), np.geomspace(0.02, 1.5, 16))
        ratio, power = places[:, :1] / places[:, 1:], places[:, 1:]
        # With the powers given, loss^(1/alpha_D) is linear; a relative residual there is
        # 1/alpha_D of one of the loss.
        columns = (
            np.stack([np.exp(-ratio * logs[0]), np.exp(-logs[1]) + 0 * ratio], -1)
            / (loss_M ** (1 / power))[..., None]
        )
        columns *= loss_M[None, :, None]
        best, found = separable(columns, loss_M, 12)
        Nc = found[:, 0] ** (places[best, 1] / places[best, 0])
        return stacked(Nc, found[:, 1], *places[best].T)

    def in_units(self, theta_P: Any, scales: Any, loss: float) -> Any:
        Nc, Dc, alpha_N, alpha_D = (theta_P[..., i] for i in range(4))
        return stacked(
            Nc * scales[0] * loss ** (1 / alpha_N),
            Dc * scales[1] * loss ** (1 / alpha_D),
            alpha_N,
            alpha_D,
        )
