"""What a command tells while it runs; the command line's console is one such listener."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from modelscale.runs.trials import TrialRecord


class Progress(Protocol):
    """How far something long has come."""

    def update(self, done: float, text: str = "") -> None:
        """Tell that `done` of the total is reached; `text` says more, such as a loss."""


class Trials(Protocol):
    """How far a search has come."""

    def training(self, numbers: Sequence[int], epoch: int, epochs: int) -> None:
        """Tell which trials train together now, and how many of their epochs are done."""

    def ended(self, trial: TrialRecord) -> None:
        """Tell how a trial ended; its result counts already."""


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

    def trials(
        self, objective: str, maximize: bool, total: int, earlier: Sequence[TrialRecord]
    ) -> AbstractContextManager[Trials]:
        """Return what is told of the trials of a search.

        Args:
            objective: The name of what decides.
            maximize: Whether larger values of it are better.
            total: Trials that there will be at the end.
            earlier: Those that ended before, in other sessions.
        """


class Unheard:
    """A listener, and all that it returns, for what nobody listens to."""

    def note(self, *_: object, **__: object) -> None:
        """Hear nothing."""

    detail = warn = update = training = ended = note

    @contextmanager
    def progress(self, *_: object, **__: object) -> Iterator[Progress]:
        """Show nothing."""
        yield self

    @contextmanager
    def trials(self, *_: object, **__: object) -> Iterator[Trials]:
        """Show nothing."""
        yield self
