"""What tensors mean at the borders between the parts. Imports no torch.

Shape letters: K replicas, B batch, N examples, C classes, D features, T target values,
O network outputs, P free parameters of one replica. Where networks write what is said, T are
frames and V symbols.
"""

from dataclasses import dataclass
from typing import Literal

Task = Literal["classification", "regression", "language_model", "transcription"]
Encoding = Literal["onehot", "codes"]
Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Inputs:
    """What one example looks like to a network.

    Attributes:
        shape: Without the batch: (D,) for tables, (channels, height, width) for images,
            (1, bands, frames) for recordings,
            (positions,) for tokens.
        categories: For tables in `codes` encoding, the number of categories of each of the
            *last* columns, which hold category codes as floats; the others are numeric.
        vocabulary: For tokens, the number of symbols; None for everything else.
    """

    shape: tuple[int, ...]
    categories: tuple[int, ...] = ()
    vocabulary: int | None = None
