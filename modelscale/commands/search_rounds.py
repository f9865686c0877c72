"""Which trials are trained next, where several processes share a search.

The trials of a search come in rounds, a batch of proposals each. With N processes a round
depends on the results of all rounds before the last N - 1, and of those it knows the parameters
alone, whether they are finished or not. So what is proposed does not depend on who is how fast,
and no process waits as long as rounds take about equally long. A process holds a lock for the
round that it trains; the kernel gives it back when the process dies, and another takes over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from modelscale.commands.search_ledger import Ledger
from modelscale.errors import TryAgain
from modelscale.runs.lock import RunLock
from modelscale.runs.trials import TrialRecord
from modelscale.tuning.space import Params

if TYPE_CHECKING:
    from modelscale.training.stopping import StopRequest

CLAIMS = "claims"
POLL_S = 0.02
OVERLAP = 3
"""Rounds that may be in training together where freed places are refilled."""

Ended = Literal["n_trials", "time", "exhausted"]
Ask = Callable[[list[int], list[int], int], list[Params]]
"""From the numbers of finished and of pending trials, and a count, to so many proposals."""


@dataclass(frozen=True)
class Member:
    """One of the processes that share a search.

    Attributes:
        index: 0 for the one that holds the run, which writes what is not of one trial.
        count: How many there are.
    """

    index: int = 0
    count: int = 1


@dataclass(frozen=True)
class Host:
    """What a search does for its rounds.

    Attributes:
        ask: Proposes.
        stop: Looked at while waiting for others.
        heard: Told of every trial that another process has finished.
        time_is_up: Whether no further round may begin.
    """

    ask: Ask
    stop: StopRequest
    heard: Callable[[TrialRecord], None]
    time_is_up: Callable[[], bool]


@dataclass(frozen=True)
class Round:
    """Trials that are proposed together.

    Attributes:
        numbers: Of the trials.
        params: Their values by spec key; fewer than `numbers` once all points are tried.
        known: The trials whose results this round may depend on.
    """

    numbers: Sequence[int]
    params: list[Params]
    known: frozenset[int]


def first_unknown(plan: list[range], place: int, overlap: int, *, learns: bool) -> int:
    """Return the first of the rounds whose results the round at `place` may not depend on.

    A sampler that learns never has more trials pending than known, or its first rounds would
    all be proposed blindly.
    """
    for first in range(max(0, place - overlap + 1), place):
        known = plan[first].start
        if not learns or plan[place].start - known <= known:
            return first
    return place


class Rounds:
    """The rounds of a search, as one of its processes comes by them.

    Attributes:
        ended: Why there are no more.
    """

    def __init__(
        self,
        ledger: Ledger,
        plan: list[range],
        member: Member,
        host: Host,
    ) -> None:
        """Begin.

        Args:
            ledger: What is known of the trials.
            plan: The numbers of each round's trials.
            member: Which of the processes this one is.
            host: The search.
        """
        self.ledger, self.plan, self.member, self._host = ledger, plan, member, host
        self._limit = plan[-1].stop if plan else 0  # less once all points are tried
        self._lock: RunLock | None = None
        self.ended: Ended = "n_trials"

    def next(self) -> Round | None:
        """Return the round that this process is to train; None if there is none left.

        Waits as long as other processes train what the next round depends on.

        Raises:
            TryAgain: If a stop was asked for while waiting.
        """
        while True:
            self.refresh()
            left = [place for place, _ in enumerate(self.plan) if not self._is_done(place)]
            if not left:
                return None
            if self._host.time_is_up():
                self.ended = "time"
                return None
            for place in left[: self.member.count]:
                found = self._taken(place, left[0])
                if found is not None and found.params:
                    return found
                if found is not None:
                    self.release()
                    break
            else:
                if self._host.stop:
                    raise self._host.stop.error()
                time.sleep(POLL_S)

    def release(self) -> None:
        """Let go of the round that was trained last."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None

    def refresh(self) -> None:
        """Hear of what other processes have finished."""
        if self.member.count == 1:
            return
        for record in self.ledger.refresh(range(self._limit)):
            self._host.heard(record)

    def close(self) -> None:
        """Let go of everything."""
        self.release()

    def _is_done(self, place: int) -> bool:
        numbers = self.plan[place]
        left = range(numbers.start, min(numbers.stop, self._limit))
        return all(number in self.ledger.records for number in left)

    def _taken(self, place: int, first_left: int) -> Round | None:
        """Return a round with its proposals if it may begin and is nobody else's."""
        numbers, count = self.plan[place], self.member.count
        oldest = max(0, place - count + 1)  # of the rounds whose results it may not know
        known = list(range(self.plan[oldest].start if oldest < place else numbers.start))
        pending = list(range(len(known), numbers.start))
        begun = all(number in self.ledger.begun for number in pending)
        if first_left < oldest or not begun or not self._claim(numbers):
            return None
        self.refresh()
        if self._is_done(place):
            self.release()
            return None
        params = self._host.ask(known, pending, len(numbers))
        if len(params) < len(numbers):
            self._limit, self.ended = numbers.start + len(params), "exhausted"
        return Round(numbers, params, frozenset(known))

    def _claim(self, numbers: range) -> bool:
        if self.member.count == 1:
            return True
        folder = self.ledger.place.sub(f"{CLAIMS}/{numbers.start:04d}")
        try:
            self._lock = RunLock(folder.path, wait_s=0)
        except TryAgain:
            return False
        return True
