"""What tensors mean at the borders between the parts. Imports no torch.

Shape letters: K replicas, B batch, N examples, C classes, D features, T target values,
O network outputs, P free parameters of one replica. Where networks write what is said, T are
frames and V symbols.
"""

from dataclasses import dataclass
from typing import Literal

Task = Literal[
    "classification",
    "regression",
    "language_model",
    "ranking",
    "pretraining",
    "transcription",
    "translation",
]
StatedTask = Literal[Task, "anomaly"]
"""What a spec may ask for: `anomaly` is a classification that learns without labels."""

Encoding = Literal["onehot", "codes"]
Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Inputs:
    """What one example looks like to a network.

    Attributes:
        shape: Without the batch: (D,) for tables, (channels, height, width) for images,
            (positions,) for tokens, (channels, positions) for series, whose last channel is 1
            at each step and, like all others, 0 in the padding behind the last one,
            (1, bands, frames) for recordings.
        categories: For tables in `codes` encoding, the number of categories of each of the
            *last* columns, which hold category codes as floats; the others are numeric.
        vocabulary: For tokens, the number of symbols; None for everything else.
        quantiles: For tables, where a model asks for them: edges of bins of equally many
            training rows, for each of the *first* columns, which are the numbers.
        of_item: For interactions in `codes` encoding, which columns describe the item.
        written: For translations, how many of the last positions hold the symbols that are to
            be written, 0 where they are not known; those before hold what is read.
    """

    shape: tuple[int, ...]
    categories: tuple[int, ...] = ()
    vocabulary: int | None = None
    quantiles: tuple[tuple[float, ...], ...] = ()
    of_item: tuple[int, ...] = ()
    written: int = 0
