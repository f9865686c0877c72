"""From the symbols of frames to what is written: doubles become one, blanks go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_IMPOSSIBLE = -math.inf
_LEAST = -20.0  # a symbol this improbable in a frame is not followed


def best_path(outputs: Tensor) -> Tensor:
    """Return the most probable symbol of each frame where a new one begins, 0 elsewhere.

    Args:
        outputs: (…, T, V) logits.

    Returns:
        (…, T) int64.
    """
    import torch
    from torch.nn import functional as F

    best = outputs.argmax(-1)
    before = F.pad(best[..., :-1], (1, 0))
    return torch.where(best != before, best, torch.zeros_like(best))


def prefix_beam(log_probabilities: Tensor, beam: int) -> Tensor:
    """Return what is most probably written, over all ways to place it in the frames.

    Prefix beam search (Hannun et al., arXiv:1408.2873) without a language model: exact where
    `beam` holds all beginnings.

    Args:
        log_probabilities: (…, T, V); symbol 0 is the blank.
        beam: Beginnings that are kept from frame to frame.

    Returns:
        (…, T) int64, 0 behind the end.
    """
    import torch

    shape = log_probabilities.shape
    rows = log_probabilities.reshape(-1, *shape[-2:]).tolist()
    found = torch.zeros(len(rows), shape[-2], dtype=torch.int64)
    for place, frames in enumerate(rows):
        written = _most_probable(frames, beam)
        found[place, : len(written)] = torch.tensor(written, dtype=torch.int64)
    return found.view(shape[:-1]).to(log_probabilities.device)


Beginning = tuple[int, ...]


def _most_probable(frames: list[list[float]], beam: int) -> Beginning:
    # Of each beginning: ln P of the ways that end with a blank, and that end with its last.
    kept: dict[Beginning, tuple[float, float]] = {(): (0.0, _IMPOSSIBLE)}
    for frame in frames:
        likely = [(s, p) for s, p in enumerate(frame) if s and p > _LEAST]
        grown: dict[Beginning, tuple[float, float]] = {}
        for written, (blank, last) in kept.items():
            either = _sum(blank, last)
            same = last + frame[written[-1]] if written else _IMPOSSIBLE
            _add(grown, written, either + frame[0], same)
            for symbol, probability in likely:
                again = bool(written) and symbol == written[-1]
                # The same symbol twice needs a blank between.
                _add(
                    grown,
                    (*written, symbol),
                    _IMPOSSIBLE,
                    (blank if again else either) + probability,
                )
        best = sorted(grown.items(), key=lambda item: -_sum(*item[1]))
        kept = dict(best[:beam])
    return next(iter(kept))


def _add(
    grown: dict[Beginning, tuple[float, float]], written: Beginning, blank: float, last: float
) -> None:
    old_blank, old_last = grown.get(written, (_IMPOSSIBLE, _IMPOSSIBLE))
    grown[written] = (_sum(old_blank, blank), _sum(old_last, last))


def _sum(a: float, b: float) -> float:
    """Return ln(exp a + exp b)."""
    low, high = (a, b) if a < b else (b, a)
    if low == _IMPOSSIBLE:
        return high
    return high + math.log1p(math.exp(low - high))
