"""The sampler family."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from modelscale.components import Component

if TYPE_CHECKING:
    from modelscale.tuning.history import History

NO_BATCH = 1_000_000
"""More than any search asks at once: results change nothing."""


class Asker(Protocol):
    """Where the proposals of one batch come from, one after another."""

    def ask(self, number: int, attempt: int, fixed: dict[str, Any]) -> dict[str, Any] | None:
        """Return a trial's values by spec key; None if there are no more.

        What was asked before in this batch counts as running, unless it was asked again.

        Args:
            number: The trial's.
            attempt: 0, and one more each time that the proposal was a repetition.
            fixed: Values that are given; the rest is to be filled in.
        """


class SamplerSpec(Component):
    """How a search proposes its next trials.

    A sampler keeps nothing: it is begun anew for every batch from the finished trials and the
    search's seed, so that an interrupted search goes on as if it had not been. It proposes a
    batch one by one: what a trial gets does not depend on how many follow it.
    """

    learns: ClassVar[bool] = False
    """Whether proposals depend on finished trials, so that large batches cost quality."""

    several_objectives: ClassVar[bool] = True
    """Whether it can be used with several objectives."""

    finite_only: ClassVar[bool] = False
    """Whether each key needs a countable number of values."""

    takes_priors: ClassVar[bool] = True
    """Whether some trials may take values that the sampler has not chosen."""

    @abstractmethod
    def begin(self, history: History) -> Asker:
        """Return the proposals that follow on a history.

        Raises:
            Unavailable: If it needs a package that is not installed.
        """

    def blind_until(self, asked: int) -> int:
        """Return the first trial after `asked` that would profit from results before it.

        Batches that end there cost nothing.
        """
        return asked if self.learns else asked + NO_BATCH
