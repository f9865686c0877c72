"""The family of scaling laws: how loss falls with parameters, data and compute."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from modelscale.components import Component

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_STEP, _SMALL = 1e-20, 1e-6


class LawSpec(Component):
    """A formula for the loss, with parameters to be fitted.

    A law is written once, for arrays of any leading shape: fits of many resamples run side by
    side. Fitting happens in units in which inputs and losses are about 1; `in_units` turns
    parameters found there into those of the user's units. Formulas are analytic (no absolute
    values or maxima of parameters), since derivatives are taken by complex steps.
    """

    inputs: ClassVar[tuple[str, ...]] = ("size",)
    """What the loss depends on. `size` stands for any one column."""

    parameters: ClassVar[tuple[str, ...]]
    """Names of the fitted numbers, in the order in which all arrays hold them."""

    signed: ClassVar[frozenset[str]] = frozenset()
    """Parameters that may be negative; all others are positive."""

    floor: ClassVar[str | None] = None
    """The parameter that is the loss at infinite size, where there is one."""

    exponents: ClassVar[tuple[str, ...]] = ()
    """Parameters that are powers: what a user calls the law's exponents."""

    bounded: ClassVar[bool] = False
    """Whether it is for a metric between 0 and 1, such as an error rate."""

    def names(self) -> tuple[str, ...]:
        """Return the names of the fitted numbers."""
        return self.parameters

    @abstractmethod
    def log_loss(self, theta: Sequence[Any], *logs: Any) -> Any:
        """Return the logarithm of the loss, in nats.

        Args:
            theta: The parameters, each of shape (…, 1); real, or complex for derivatives.
            logs: Logarithm of each input, in the order of `inputs`, of shape (M,) or (…, M).
        """

    def with_slopes(self, theta: Sequence[Array], *logs: Array) -> tuple[Array, list[Array]]:
        """Return the logarithm of the loss and its derivatives by each parameter.

        By complex steps (Squire and Trapp, SIAM Review 40, 1998), exact to rounding. A law that
        is fitted very often may say them itself.
        """
        import numpy as np

        slopes, value = [], None
        for i, own in enumerate(theta):
            step = _STEP * np.maximum(np.abs(own), _SMALL)
            moved = [t + 1j * step if i == j else t for j, t in enumerate(theta)]
            found = self.log_loss(moved, *logs)
            value = np.real(found)
            slopes.append(np.imag(found) / step)
        assert value is not None
        return value, slopes

    @abstractmethod
    def starts(self, logs: Sequence[Array], loss_M: Array) -> Array:
        """Return parameters (S, P) from which to search, in units where data are about 1."""

    @abstractmethod
    def in_units(self, theta_P: Array, scales: Sequence[float], loss: float) -> Array:
        """Return parameters (…, P) in the user's units.

        Args:
            theta_P: Those of a law of `x / scale` and `loss / scale`.
            scales: Of each input, in the order of `inputs`.
            loss: Scale of the loss.
        """


def stacked(*columns: Any) -> Array:
    """Return parameters (…, P) from one array (…) each."""
    import numpy as np

    return np.stack(np.broadcast_arrays(*columns), axis=-1)
