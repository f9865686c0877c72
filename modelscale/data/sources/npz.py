"""NumPy arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from modelscale.data.reading import Reading, file_bytes
from modelscale.data.sources.base import SourceSpec
from modelscale.spec.base import clash

if TYPE_CHECKING:
    from modelscale.data.raw import Raw


class NpzSource(SourceSpec):
    """Arrays `x` and `y` of an `.npz` file, or of two `.npy` files, which are memory-mapped.

    x is (N, D), or images (N, height, width) or (N, channels, height, width), bytes or floats;
    y is (N,) or (N, T) numbers, or (N,) text.
    """

    path: Path
    """The `.npz` file, or the `.npy` file of x."""

    targets: Path | None = None
    """The `.npy` file of y, where `path` is one of x."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if self.targets is not None and self.path.suffix != ".npy":
            raise clash("'targets' goes with a 'path' that ends in .npy", "targets", "path")
        return self

    def estimated_bytes(self) -> int:
        return 4 * file_bytes(self.path)

    def read(self, how: Reading | None = None) -> Raw:
        from modelscale.data.arrays import read_npy_pair, read_npz

        if self.path.suffix == ".npy":
            return read_npy_pair(self.path, self.targets)
        return read_npz(self.path)
