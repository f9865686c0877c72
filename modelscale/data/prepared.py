"""What training sees: examples as tensors, rows by part, and what made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from modelscale.data.item_table import ItemTable
    from modelscale.data.preprocessing import Preprocessing
    from modelscale.tensors import Inputs, Part, Task


class Examples(Protocol):
    """Examples by row: a device-resident tensor, or a memory map that reads what is asked."""

    def take(self, rows: Tensor) -> Tensor:
        """Return x: (len(rows), *inputs.shape) float32 on the training device."""

    def to(self, device: torch.device) -> Examples:
        """Return the same examples for another device."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Prepared:
    """One fold of a data set, ready for a network.

    Attributes:
        task: What is to be learnt.
        inputs: What one example looks like to the network.
        targets: Number of classes, or of target values.
        x: The examples after pre-processing.
        y: (N,) int64 class indices, or (N, T) float32 transformed target values.
        rows: int64 row indices of each part; a part may be empty.
        preprocessing: What turns the user's values into x, and outputs back into answers.
        fingerprint: sha256 of the data that was read.
        items: All items, where items are to be ranked.
    """

    task: Task
    inputs: Inputs
    targets: int
    x: Examples
    y: Tensor
    rows: dict[Part, Tensor]
    preprocessing: Preprocessing
    fingerprint: str
    items: ItemTable | None = None
