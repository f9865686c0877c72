"""Connectionist temporal classification."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelscale.losses.base import LossSpec
from modelscale.tensors import Task

if TYPE_CHECKING:
    from torch import Tensor


class Ctc(LossSpec):
    """−ln of the probability that a network writes what is said, over all ways to place it.

    (Graves et al., ICML 2006.) In nats, divided by the number of symbols that are said.
    Symbol 0 is the blank; behind a recording's end networks write it with certainty (see
    `models/ctc_conv.py`), so that no lengths are needed here.
    """

    task: ClassVar[Task] = "transcription"

    beam: int = Field(1, ge=1, le=1000)
    """Beginnings that are followed when reading: 1 takes the most probable symbol of each
    frame; more add up all ways to write the same (prefix beam search). Validation during
    training takes 1 in any case."""

    def per_example(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        """Return the loss of each recording, (N,).

        Args:
            outputs_NO: (N, T, V) float32.
            targets_N: (N, L) int64 symbols, 0 behind the end.
        """
        import torch
        from torch.nn import functional as F

        log_TNV = outputs_NO.log_softmax(-1).transpose(0, 1)
        frames = torch.full((len(outputs_NO),), len(log_TNV), dtype=torch.int64)
        length_N = (targets_N > 0).sum(-1)
        nats_N = F.ctc_loss(log_TNV, targets_N, frames, length_N, blank=0, reduction="none")
        return nats_N / length_N.clamp(min=1)

    def predictions(self, outputs_NO: Tensor) -> Tensor:
        """Return (…, N, T) int64 symbols, to be read without zeros, of (…, N, T, V)."""
        from modelscale.losses._reading import best_path, prefix_beam

        if self.beam == 1:
            return best_path(outputs_NO)
        return prefix_beam(outputs_NO.log_softmax(-1), self.beam)

    def quick_predictions(self, outputs_NO: Tensor) -> Tensor:
        from modelscale.losses._reading import best_path

        return best_path(outputs_NO)
