"""The data source family."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from modelscale.components import Component

if TYPE_CHECKING:
    from modelscale.data.raw import Raw
    from modelscale.data.reading import Reading


class SourceSpec(Component):
    """Where examples come from. A bare string names a data set of the catalogue."""

    @classmethod
    def from_shorthand(cls, text: str) -> dict[str, Any]:
        return {"kind": "catalogue", "name": text}

    def estimated_bytes(self) -> int:
        """Return about how much memory the examples take; 0 where that is never much."""
        return 0

    @abstractmethod
    def read(self, how: Reading | None = None) -> Raw:
        """Return all examples, read strictly.

        Args:
            how: Declared roles of columns, and where arrays larger than memory go.

        Raises:
            DataError: Naming the file, the row and the column of what is wrong.
            InputMissing: If a file is not there or cannot be read.
            Unavailable: If an extra is missing.
        """
