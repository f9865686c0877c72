"""Spectra whose frames are moved; what lies behind a recording's end stays exactly 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def held(x: Tensor) -> Tensor:
    """Return (B, 1, 1, T), 1 for the frames of each recording and 0 behind its end."""
    import torch

    some = (x != 0).any(2, keepdim=True).any(1, keepdim=True)
    # A frame of zeros that others follow, such as a masked one, is inside.
    return torch.flip(torch.flip(some.float(), (-1,)).cummax(-1).values, (-1,))


def sampled(x: Tensor, place: Tensor, axis: int) -> Tensor:
    """Return x at places between its bands or frames, by straight lines; 0 where there is none.

    Args:
        x: (B, channels, bands, T).
        place: (B, P) where to read, in bands (axis 2) or frames (axis 3).
        axis: Which of the two.
    """
    import torch

    size = x.shape[axis]
    inside = ((place >= 0) & (place <= size - 1)).to(x.dtype)
    low = place.floor().clamp(0, size - 1)
    share = (place - low).clamp(0, 1)
    form = (-1, 1, place.shape[1], 1) if axis == 2 else (-1, 1, 1, place.shape[1])
    shape = list(x.shape)
    shape[axis] = place.shape[1]
    first = low.long()
    second = (first + 1).clamp(max=size - 1)
    picked = [x.gather(axis, index.view(form).expand(shape)) for index in (first, second)]
    return torch.lerp(picked[0], picked[1], share.view(form)) * inside.view(form)
