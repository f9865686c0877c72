"""Series as one long table, and the windows into it that are the examples.

A step is stored once, however many windows see it: a window is a place and a length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Windows:
    """Windows of series; L steps of all series together, N windows, T positions of each.

    Attributes:
        columns: Values by name, each (L,) float64 (NaN is missing), one series after the other
            in order of time; may be memory maps.
        start_N: (N,) int64, step with which a window begins.
        length_N: (N,) int64, steps of a window, at most `positions`.
        positions: T; behind the steps of a shorter window there is padding.
        time_L: (L,) float64, time of each step in its series.
        ahead: Steps behind a window that its target needs.
        unit_N: (N,) int32, index into `units`.
        units: Names of the units that the series are of.
    """

    columns: dict[str, NDArray[np.float64]]
    start_N: NDArray[np.int64]
    length_N: NDArray[np.int64]
    positions: int
    time_L: NDArray[np.float64]
    unit_N: NDArray[np.int32]
    units: tuple[str, ...]
    ahead: int = 0

    def __len__(self) -> int:
        return len(self.start_N)

    @property
    def steps(self) -> int:
        """L, steps that are stored."""
        return len(self.time_L)

    def ends(self) -> NDArray[np.int64]:
        """(N,) the last step of each window."""
        return self.start_N + self.length_N - 1

    def rows(self, rows: NDArray[np.int64]) -> Windows:
        """Return some of the windows, in that order; the steps are not copied."""
        return replace(
            self,
            start_N=self.start_N[rows],
            length_N=self.length_N[rows],
            unit_N=self.unit_N[rows],
        )

    def covered(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (L,), whether a step is in any of these windows."""
        import numpy as np

        change = np.zeros(self.steps + 1, dtype=np.int64)
        np.add.at(change, self.start_N[rows], 1)
        np.add.at(change, self.ends()[rows] + 1, -1)
        seen: NDArray[np.bool_] = change[:-1].cumsum() > 0
        return seen

    def steps_of(self, span: slice) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return (n, T) steps of the windows of a span, and whether they are no padding."""
        import numpy as np

        place_T = np.arange(self.positions)
        there_NT = place_T < self.length_N[span, None]
        step_NT = np.where(there_NT, self.start_N[span, None] + place_T, 0)
        return step_NT, there_NT
