"""Ridge regression in closed form: what a penalised linear model converges to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Ridge:
    """A solved ridge regression.

    Attributes:
        weight_DT: One column a target value.
        bias_T: Not penalised.
    """

    weight_DT: NDArray[np.float64]
    bias_T: NDArray[np.float64]

    def predict(self, x_ND: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the answers (N, T)."""
        return x_ND @ self.weight_DT + self.bias_T


def solve(x_ND: NDArray[np.float64], y_NT: NDArray[np.float64], l2: float) -> Ridge:
    """Return what minimises the mean squared error plus l2 · Σw².

    The mean is over examples and target values, so that n·T times it is the sum of squares
    with the penalty alpha = n·T·l2 of textbooks (Hoerl & Kennard, Technometrics 12, 1970).
    Among equally good answers, such as for l2 = 0 and dependent columns, it is the smallest.
    """
    import numpy as np

    n, D = x_ND.shape
    mean_D, mean_T = x_ND.mean(axis=0), y_NT.mean(axis=0)
    alpha = n * y_NT.shape[1] * l2
    # Rows √alpha·I with targets 0 add the penalty to a plain least-squares problem, which is
    # better conditioned than the normal equations.
    rows = np.vstack([x_ND - mean_D, np.sqrt(alpha) * np.eye(D)])
    targets = np.vstack([y_NT - mean_T, np.zeros((D, y_NT.shape[1]))])
    weight_DT = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return Ridge(weight_DT, mean_T - mean_D @ weight_DT)
