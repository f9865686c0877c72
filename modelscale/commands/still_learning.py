"""Whether a training run ended while the validation loss was still falling."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

LEAST_EPOCHS = 8
"""Shorter runs are trials of something, and their last quarter is noise."""

NOTABLE = 0.02
"""Share of the validation loss that the last quarter of the epochs took off."""

NOTABLE_OF_FALL = 0.15
"""The same as a share of the whole fall: a line falls by a quarter, a curve at its end by next
to nothing."""

LEAST_FALL = 0.005
"""Share of the loss below which a fall may be noise."""


def curves(lines: Iterable[bytes]) -> list[list[float]]:
    """Return the validation loss of each member by epoch, from the lines of its metric log."""
    found: dict[str, list[float]] = {}
    for line in lines:
        entry = json.loads(line)
        loss = entry.get("validation/loss")
        if isinstance(loss, int | float):
            found.setdefault(entry.get("member", ""), []).append(loss)
    return list(found.values())


def still_learning(losses: Sequence[Sequence[float]], epochs: int) -> str | None:
    """Return a warning if most members would have gone on getting better; else None.

    Args:
        losses: Validation loss of each member by epoch. Those that stopped early do not count.
        epochs: That were planned.
    """
    if epochs < LEAST_EPOCHS:
        return None
    gains = [_last_gain(curve) for curve in losses if len(curve) == epochs]
    falling = [gain for gain in gains if gain > 0]
    if not falling or 2 * len(falling) <= len(losses):
        return None
    gain = sorted(falling)[len(falling) // 2]
    return (
        f"the validation loss still fell in the last quarter of the epochs, by {gain:.1%}; "
        f"more of them (train.epochs, now {epochs}) or a larger optimizer.lr may do better"
    )


def _last_gain(curve: Sequence[float]) -> float:
    """Return which share of the loss the last quarter took off; 0 if that is not notable."""
    quarter = len(curve) // 4
    before, after = min(curve[:-quarter]), curve[-1]
    if after > min(curve) + 1e-3 * abs(before) or before <= 0:
        return 0.0
    gain, fall = (before - after) / before, (curve[0] - after) / before
    steady = fall >= LEAST_FALL and gain >= NOTABLE_OF_FALL * fall
    return gain if gain >= NOTABLE or steady else 0.0
