"""Recordings at another rate."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HALF_LENGTH = 10  # zero crossings of the filter on either side, at the lower rate
_BETA = 5.0  # of the Kaiser window: 50 dB below the passband
_CHUNK = 1 << 16


def resampled(samples_S: NDArray[np.float32], old: int, new: int) -> NDArray[np.float32]:
    """Return a recording at another rate: what both rates can hold, and nothing else.

    A polyphase filter: a sinc at half the lower rate under a Kaiser window, as SciPy's
    `resample_poly` has it.

    Args:
        samples_S: (S,) samples.
        old: Their rate in samples a second.
        new: The wanted rate.

    Returns:
        (ceil(S · new / old),) samples.
    """
    import numpy as np

    up, down = new // gcd(old, new), old // gcd(old, new)
    if up == down:
        return samples_S
    half = _HALF_LENGTH * max(up, down)
    place_F = np.arange(-half, half + 1)
    filter_F = np.sinc(place_F / max(up, down)) * np.kaiser(len(place_F), _BETA)
    filter_F *= up / filter_F.sum()
    taps = -(-len(filter_F) // up)
    filter_F = np.concatenate([filter_F, np.zeros(taps * up - len(filter_F))])
    count = -(-len(samples_S) * up // down)
    padded = np.concatenate([np.zeros(taps), samples_S, np.zeros(taps + half // up + 1)])
    found = np.empty(count, dtype=np.float32)
    for start in range(0, count, _CHUNK):
        centre_M = np.arange(start, min(start + _CHUNK, count)) * down + half
        newest_M, phase_M = centre_M // up, centre_M % up
        value_M = np.zeros(len(centre_M))
        for tap in range(taps):
            value_M += padded[taps + newest_M - tap] * filter_F[phase_M + tap * up]
        found[start : start + len(value_M)] = value_M
    return found
