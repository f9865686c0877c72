"""What a source delivers: named columns or one array, before any split or pre-processing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Raw:
    """All examples of a source.

    Exactly one of `columns` and `array` holds the inputs.

    Attributes:
        columns: Table inputs by name: float64 (NaN is missing) or object arrays of str
            (None is missing), each (N,).
        array: Images uint8 or float32 (N, channels, height, width), vectors float32 (N, D)
            or tokens int64 (N, positions); may be a read-only memory map.
        target: (N,) or (N, T) float64, or (N,) object array of str; None to predict only.
        target_names: Names of the target columns.
        groups: (N,) of values whose rows must stay together, for `split: group`.
        times: (N,) float64 that orders rows, for `split: time`.
        part: (N,) object array of "train", "validation" or "test", for `split: column`.
        fingerprint: sha256 of the content that was read.
        origin: For people: file or data set, version, licence.
        vocabulary: Number of symbols when `array` holds tokens.
    """

    target: NDArray[np.generic] | None
    target_names: tuple[str, ...]
    fingerprint: str
    origin: str
    columns: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    array: NDArray[np.generic] | None = None
    groups: NDArray[np.generic] | None = None
    times: NDArray[np.generic] | None = None
    part: NDArray[np.generic] | None = None
    vocabulary: int | None = None

    def __len__(self) -> int:
        return len(self.array) if self.array is not None else len(next(iter(self.columns.values())))
