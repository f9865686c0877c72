"""Rungs: the epochs after which only the best part of the trials goes on."""

from __future__ import annotations

from collections.abc import Iterable


def is_rung(epoch: int, first: int, reduction: int) -> bool:
    """Return whether an epoch is `first` times a power of `reduction`."""
    rung = first
    while rung < epoch:
        rung *= reduction
    return rung == epoch


def falls_behind(score: float, rivals: Iterable[float], reduction: int) -> bool:
    """Return whether a score is not among the best one in `reduction` of its rivals.

    With fewer rivals than that nobody can be told to be behind. Equals share a place.
    """
    ranked = sorted(rivals, reverse=True)
    places = len(ranked) // reduction
    return places > 0 and score < ranked[places - 1]
