"""What a command tells while it runs; the command line's console is one such listener."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Progress(Protocol):
    """How far something long has come."""

    def update(self, done: float, text: str = "") -> None:
        """Tell that `done` of the total is reached; `text` says more, such as a loss."""


class Listener(Protocol):
    """Who hears what happens."""

    def note(self, text: str) -> None:
        """Hear what happens."""

    def detail(self, text: str) -> None:
        """Hear what only a curious user asks for."""

    def warn(self, text: str) -> None:
        """Hear what may be wrong."""

    def progress(self, label: str, total: float) -> AbstractContextManager[Progress]:
        """Return what is told of the progress of something long."""
