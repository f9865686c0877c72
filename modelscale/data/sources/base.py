"""The data source family."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from modelscale.components import Component

if TYPE_CHECKING:
    from modelscale.data.raw import Raw


class SourceSpec(Component):
    """Where examples come from. A bare string names a data set of the catalogue."""

    @classmethod
    def from_shorthand(cls, text: str) -> dict[str, Any]:
        return {"kind": "catalogue", "name": text}

    @abstractmethod
    def read(self) -> Raw:
        """Return all examples, read strictly.

        Raises:
            DataError: Naming the file, the row and the column of what is wrong.
            InputMissing: If a file is not there or cannot be read.
            Unavailable: If an extra is missing.
        """
