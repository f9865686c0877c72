"""A ladder's law as lines with bands, for plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelscale.commands.scale_law import Law

    Array = NDArray[np.float64]

_PLACES = 40
_AHEAD = 4.0  # times the largest measured amount


def lines_of(law: Law) -> list[dict[str, Any]]:
    """Return the tested law (else the only one) along its data, a line for each size.

    A law of one input is one line along it. Each line has its inputs, its losses and the ends
    of the interval that the law's resamples give.
    """
    import numpy as np

    analysis = law.shown
    if analysis is None:
        return []
    sizes = sorted({outcome.rung.size.parameters for outcome in law.used})
    units = np.array([outcome.rung.units for outcome in law.used], dtype=float)
    if law.along is not None:
        x = np.array([float(o.rung.size.parameters) for o in law.used])
        x = units if law.along == "tokens" else x
        grid = np.geomspace(x.min(), _AHEAD * x.max(), _PLACES)
        inputs: list[tuple[int | None, dict[str, Array], Array]]
        inputs = [(None, {"size": grid}, grid)]
    else:
        grid = np.geomspace(units.min(), _AHEAD * units.max(), _PLACES)
        inputs = [
            (size, {"parameters": np.full(len(grid), float(size)), "tokens": grid}, grid)
            for size in sizes
        ]
    tail = (1 - analysis.options.level) / 2
    found = []
    for size, at, x in inputs:
        draws_BQ = analysis.resampled.predict(at)
        low, high = np.nanquantile(draws_BQ, [tail, 1 - tail], axis=0)
        found.append(
            {
                "parameters": size,
                "x": x.tolist(),
                "value": analysis.fit.predict(at).tolist(),
                "low": low.tolist(),
                "high": high.tolist(),
            }
        )
    return found
