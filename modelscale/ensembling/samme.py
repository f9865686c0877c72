"""AdaBoost for several classes: SAMME (Zhu, Zou, Rosset & Hastie, Stat. Interface 2, 2009).

The steps are those of scikit-learn's `AdaBoostClassifier`, so that equal weak answers give
equal weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Round:
    """What one weak learner changes.

    Attributes:
        vote: Weight of its vote.
        error: Weighted share of the examples that it gets wrong.
        weight_N: Weights of the examples for the next learner; their sum is 1.
        goes_on: Whether a next learner makes sense; not after a perfect one.
    """

    vote: float
    error: float
    weight_N: NDArray[np.float64]
    goes_on: bool


def equal_weights(examples: int) -> NDArray[np.float64]:
    """Return the weights of the first round."""
    import numpy as np

    return np.full(examples, 1.0 / examples)


def boost(
    weight_N: NDArray[np.float64],
    wrong_N: NDArray[np.bool_],
    classes: int,
    shrinkage: float = 1.0,
) -> Round | None:
    """Return what a weak learner that was trained with some weights changes.

    Args:
        weight_N: Weights of the examples; their sum is 1.
        wrong_N: Which of them it gets wrong.
        classes: C.
        shrinkage: Factor on its vote.

    Returns:
        None for a learner no better than chance: it is left out, and no other follows.
    """
    import numpy as np

    # scikit-learn clips before each round, so that no weight underflows for good.
    weight_N = np.clip(weight_N, np.finfo(np.float64).eps, None)
    error = float(np.average(wrong_N, weights=weight_N))
    if error <= 0:
        return Round(1.0, 0.0, weight_N, goes_on=False)
    if error >= 1 - 1 / classes:
        return None
    vote = shrinkage * (math.log((1 - error) / error) + math.log(classes - 1))
    heavier_N = np.exp(np.log(weight_N) + vote * wrong_N)
    return Round(vote, error, heavier_N / heavier_N.sum(), goes_on=True)
