"""Windows of series as training takes them: gathered from steps that are stored once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor


@dataclass(frozen=True)
class SeriesExamples:
    """Windows of steps that live on the training device.

    Attributes:
        x_LC: (L, channels) float32, all steps.
        start_N: (N,) int64, step with which a window begins.
        length_N: (N,) int64, its steps.
        positions: T of a window; steps behind its end are 0 in all channels.
    """

    x_LC: Tensor
    start_N: Tensor
    length_N: Tensor
    positions: int

    def take(self, rows: Tensor) -> Tensor:
        step_BT, there_BT = steps_of(self, rows.to(self.x_LC.device))
        taken_BTC = self.x_LC[step_BT] * there_BT.unsqueeze(-1)
        return taken_BTC.transpose(1, 2).contiguous()

    def to(self, device: torch.device) -> SeriesExamples:
        start_N, length_N = self.start_N.to(device), self.length_N.to(device)
        return SeriesExamples(self.x_LC.to(device), start_N, length_N, self.positions)

    def __len__(self) -> int:
        return len(self.start_N)


@dataclass(frozen=True)
class DiskSeries:
    """Windows of steps in a `.npy` file that are read as they are asked for.

    Attributes:
        path: File of (L, channels) float32.
        start_N: (N,) int64 on the CPU, step with which a window begins.
        length_N: (N,) int64 on the CPU, its steps.
        positions: T of a window.
        device: Where batches go.
    """

    path: Path
    start_N: Tensor
    length_N: Tensor
    positions: int
    device: torch.device

    def take(self, rows: Tensor) -> Tensor:
        import numpy as np
        import torch

        stored_LC = np.load(self.path, mmap_mode="r", allow_pickle=False)
        step_BT, there_BT = steps_of(self, rows.cpu())
        # Fancy indexing copies, so the batch does not hold on to the map.
        taken_BTC = torch.from_numpy(stored_LC[step_BT.numpy()]) * there_BT.unsqueeze(-1)
        return taken_BTC.transpose(1, 2).contiguous().to(self.device)

    def to(self, device: torch.device) -> DiskSeries:
        return DiskSeries(self.path, self.start_N, self.length_N, self.positions, device)

    def __len__(self) -> int:
        return len(self.start_N)


def steps_of(examples: SeriesExamples | DiskSeries, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B, T) steps of some windows, and whether they are no padding."""
    import torch

    place_T = torch.arange(examples.positions, device=rows.device)
    there_BT = place_T < examples.length_N[rows].unsqueeze(1)
    step_BT = examples.start_N[rows].unsqueeze(1) + place_T
    return step_BT * there_BT, there_BT
