"""Arithmetic of lower precision, with weights in fp32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_SCALE = 2.0**14
GROWTH_STEPS = 500
SMALLEST_SCALE = 2.0**-10


def arithmetic(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which forward passes of this precision run."""
    if precision in {"bf16", "fp16"}:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float16
        return torch.autocast(device.type, dtype=dtype)
    return nullcontext()


def allow_tf32(precision: str) -> None:
    """Let fp32 matrix products round to TF32 where the spec says so and nowhere else."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


@dataclass
class LossScale:
    """Dynamic scaling of the loss for fp16 (Micikevicius et al., arXiv:1710.03740).

    Attributes:
        scale_K: (K, 1) factor of each replica's loss.
        good_steps_K: (K, 1) steps since the last change.
    """

    scale_K: Tensor
    good_steps_K: Tensor

    @staticmethod
    def start(count: int, device: torch.device) -> LossScale:
        """Return the scale of the first step."""
        return LossScale(
            torch.full((count, 1), FIRST_SCALE, device=device),
            torch.zeros(count, 1, device=device),
        )

    def take(self, chosen: list[int]) -> LossScale:
        """Return the scales of the replicas at these positions."""
        return LossScale(self.scale_K[chosen], self.good_steps_K[chosen])

    def joined(self, count: int) -> LossScale:
        """Return these scales and those of as many replicas that begin."""
        new = LossScale.start(count, self.scale_K.device)
        return LossScale(
            torch.cat([self.scale_K, new.scale_K]),
            torch.cat([self.good_steps_K, new.good_steps_K]),
        )

    def adjust(self, finite: list[bool]) -> list[bool]:
        """Halve the scale of replicas that overflowed, double that of steady ones.

        Returns:
            Which replicas go on; one that overflows even at the smallest scale does not.
        """
        finite_K1 = torch.tensor(finite, device=self.scale_K.device)[:, None]
        self.good_steps_K = torch.where(finite_K1, self.good_steps_K + 1, 0.0)
        grown = self.good_steps_K >= GROWTH_STEPS
        self.scale_K = torch.where(finite_K1, self.scale_K, self.scale_K / 2)
        self.scale_K = torch.where(grown, self.scale_K * 2, self.scale_K)
        self.good_steps_K = torch.where(grown, 0.0, self.good_steps_K)
        return [scale >= SMALLEST_SCALE for scale in self.scale_K[:, 0].tolist()]
