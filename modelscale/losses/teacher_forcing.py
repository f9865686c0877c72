"""Surprise at each symbol of the true translation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class TeacherForcing(LossSpec):
    """−ln P of each symbol of a translation given the true ones before it.

    In nats, averaged over the symbols of a text. Networks answer with three numbers a symbol
    (see `models/encoder_decoder.py`).
    """

    task: ClassVar[Task] = "translation"

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all symbols (Szegedy et al.,
    arXiv:1512.00567)."""

    beam: int = Field(1, ge=1, le=100)
    """Beginnings that are followed when writing: 1 takes the most probable symbol each time."""

    length_penalty: float = Field(0.6, ge=0, le=2)
    """Power of the length by which a beam divides sums of ln P; 0 prefers short texts."""

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        """Return the loss of each text, (N,).

        Args:
            outputs_NO: (N, T, 3) float32: nats, mean nats of all symbols, whether right.
            targets_N: (N, T + …) int64, the symbols first, 0 behind the end.
        """
        own_NT, all_NT, _ = outputs_NO.unbind(-1)
        length_N = (targets_N[:, : own_NT.shape[1]] > 0).sum(-1)
        nats_NT = own_NT.lerp(all_NT, self.label_smoothing)
        return nats_NT.sum(-1) / length_N.clamp(min=1)

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        """Return (…, N, 2): the nats of each text, and how many symbols were foreseen."""
        return outputs_NO[..., ::2].sum(-2)
