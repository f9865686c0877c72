"""Requests to stop: signals and a deadline. The first asks, the second ends at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from modelscale.errors import TryAgain

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class StopRequest:
    """Whether somebody wants the run to save itself and stop.

    Attributes:
        signal: The signal that asked, if any.
    """

    def __init__(self, max_time_s: float | None = None, parent: int | None = None) -> None:
        """Begin.

        Args:
            max_time_s: Seconds from now after which to stop.
            parent: Process without which this one has nothing to work for.
        """
        self.signal: signal.Signals | None = None
        self._deadline = None if max_time_s is None else time.monotonic() + max_time_s
        self._parent = parent

    def __bool__(self) -> bool:
        if self.signal is not None:
            return True
        if self._parent is not None and os.getppid() != self._parent:
            return True
        return self._deadline is not None and time.monotonic() >= self._deadline

    def error(self) -> TryAgain:
        """Return what to raise once the state is saved."""
        if self.signal is None:
            return TryAgain("time is up; the state is saved: run the same command to go on")
        error = TryAgain(
            f"interrupted by {self.signal.name}; the state is saved: "
            "run the same command to go on"
        )
        if self.signal == signal.SIGINT:
            error.exit_code = 128 + signal.SIGINT
        return error

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None and number in {signal.SIGTERM, signal.SIGINT}:
            os._exit(128 + number)  # what is on disk is consistent at any moment
        self.signal = signal.Signals(number)


@contextmanager
def listening(stop: StopRequest) -> Iterator[StopRequest]:
    """Let signals set `stop` within the block."""
    before = {number: signal.signal(number, stop._ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
