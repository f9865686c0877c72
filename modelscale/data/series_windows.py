"""Where windows begin and end in steps that are in order of unit and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.data.windows import Windows


class Cutting(Protocol):
    """How series are cut, as a source's fields say it."""

    @property
    def length(self) -> int | None: ...
    @property
    def stride(self) -> int: ...
    @property
    def short(self) -> str: ...
    @property
    def gap(self) -> float | None: ...


class Places(NamedTuple):
    """Windows of steps.

    Attributes:
        start_N: (N,) int64, first step.
        length_N: (N,) int64, steps.
    """

    start_N: NDArray[np.int64]
    length_N: NDArray[np.int64]


def cut(
    unit_L: NDArray[np.int32], time_L: NDArray[np.float64], how: Cutting, ahead: int
) -> Places:
    """Return the windows of all series, in order.

    Args:
        unit_L: (L,) unit of each step, ascending.
        time_L: (L,) time, ascending within a unit.
        how: Length, stride and gap.
        ahead: Steps that must follow each window in the same piece.
    """
    import numpy as np

    new_L = np.diff(unit_L) != 0
    if how.gap is not None:
        new_L |= np.diff(time_L) > how.gap
    begin_S = np.concatenate([[0], np.flatnonzero(new_L) + 1])
    size_S = np.diff(np.append(begin_S, len(unit_L))) - ahead
    begin_S, size_S = begin_S[size_S > 0], size_S[size_S > 0]
    if how.length is None:
        return Places(begin_S, size_S)
    short_S = size_S < how.length
    if how.short == "skip":
        begin_S, size_S, short_S = begin_S[~short_S], size_S[~short_S], short_S[~short_S]
    count_S = np.where(short_S, 1, (size_S - how.length) // how.stride + 1)
    first_S = np.cumsum(count_S) - count_S
    place_N = np.arange(count_S.sum()) - np.repeat(first_S, count_S)
    # The last window ends with its piece, so that the newest steps are always seen.
    offset_S = np.where(short_S, 0, (size_S - how.length) % how.stride)
    start_N = np.repeat(begin_S + offset_S, count_S) + place_N * how.stride
    length_N = np.repeat(np.minimum(size_S, how.length), count_S)
    return Places(start_N.astype(np.int64), length_N.astype(np.int64))


def last_of_units(windows: Windows) -> NDArray[np.int64]:
    """Return the rows of the last window of each unit."""
    import numpy as np

    last_N = np.append(np.diff(windows.unit_N) != 0, np.ones(min(1, len(windows)), dtype=bool))
    return np.flatnonzero(last_N)
