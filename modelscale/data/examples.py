"""Examples by row: tensors on the device, or a memory map that reads what is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor


@dataclass(frozen=True)
class TensorExamples:
    """Examples that live on the training device.

    Attributes:
        x: (N, *inputs.shape) float32, or symbols as whole numbers.
    """

    x: Tensor

    def take(self, rows: Tensor) -> Tensor:
        return self.x.index_select(0, rows.to(self.x.device)).float()

    def to(self, device: torch.device) -> TensorExamples:
        return TensorExamples(self.x.to(device))

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class DiskExamples:
    """Examples in a `.npy` file that are read as they are asked for, in constant memory.

    Attributes:
        path: File of (N, *inputs.shape) float32, or of symbols as whole numbers.
        device: Where batches go.
        rows: N.
    """

    path: Path
    device: torch.device
    rows: int

    def take(self, rows: Tensor) -> Tensor:
        import numpy as np
        import torch

        stored = np.load(self.path, mmap_mode="r", allow_pickle=False)
        # Fancy indexing copies, so the batch does not hold on to the map.
        return torch.from_numpy(stored[rows.cpu().numpy()]).to(self.device).float()

    def to(self, device: torch.device) -> DiskExamples:
        return DiskExamples(self.path, device, self.rows)

    def __len__(self) -> int:
        return self.rows
