"""Places: where in a spec a value stands, and where in which file it was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Place = tuple[str | int, ...]
"""The way from the top of a spec to a value: ("model", "hidden", 0)."""


def dotted(place: Place) -> str:
    """Return a place as people write it: `model.hidden.0`."""
    return ".".join(map(str, place))


class Origin(NamedTuple):
    """Where something was written.

    Attributes:
        source: Name of the file, or the `--set` that was given.
        line: Counted from 1; 0 for what is not in a file.
        column: Counted from 1 in characters; 0 for what is not in a file.
    """

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


class Fault(NamedTuple):
    """One thing that is wrong with a spec; `str` is the line that a user sees."""

    origin: Origin
    place: Place
    message: str

    def __str__(self) -> str:
        where = f"{dotted(self.place)}: " if self.place else ""
        return f"{self.origin}: {where}{self.message}"

    def order(self) -> tuple[bool, int, int]:
        """Return what sorts faults as a reader meets them: the file, then the command line."""
        return (self.origin.line == 0, self.origin.line, self.origin.column)


@dataclass
class Tree:
    """Plain data with the origin of each of its parts.

    Attributes:
        data: Mappings, tuples and scalars.
        keys: Where the key or the item of each place begins.
        values: Where the value of each place begins.
        texts: Scalars as they were written.
        faults: What was wrong in a way that did not prevent further reading.
    """

    data: Any = None
    keys: dict[Place, Origin] = field(default_factory=dict)
    values: dict[Place, Origin] = field(default_factory=dict)
    texts: dict[Place, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def origin(self, place: Place, *, of_key: bool = False) -> Origin:
        """Return the origin of a place, or of the nearest section around it that has one."""
        if of_key and place in self.keys:
            return self.keys[place]
        for length in range(len(place), -1, -1):
            found = self.values.get(place[:length])
            if found is not None:
                return found
        return Origin("spec")

    def forget(self, place: Place) -> None:
        """Drop the origins of a place and of all that is below it."""
        length = len(place)
        for marks in (self.keys, self.values, self.texts):
            for old in [p for p in marks if p[:length] == place]:
                del marks[old]
