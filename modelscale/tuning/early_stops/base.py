"""The family of rules that stop trials early. Optuna calls them pruners."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from modelscale.components import Component


@dataclass(frozen=True)
class Standing:
    """How a trial stands among all others after an epoch.

    Scores are larger for better trials, whatever the metric. With several objectives a score
    is minus the number of the front on which the trial lies at this epoch
    (`fronts.domination_scores`), while `curve` is of the first objective.

    Attributes:
        number: The trial's.
        epoch: 1 after the first pass.
        epochs: Passes of a whole trial.
        rivals: Scores at this epoch, by number, of all trials that reached it, this one
            included.
        curve: The trial's own metric by epoch up to this one, in its unit.
        maximize: Whether larger values of the metric are better.
    """

    number: int
    epoch: int
    epochs: int
    rivals: Mapping[int, float]
    curve: Mapping[int, float]
    maximize: bool

    @property
    def score(self) -> float:
        """The trial's own score."""
        return self.rivals[self.number]


class EarlyStopSpec(Component):
    """Which trials of a search are given up before their last epoch.

    Rules keep nothing and draw nothing: the same standing has the same answer, so that an
    interrupted search stops the trials that it would have stopped.
    """

    @abstractmethod
    def stops(self, standing: Standing) -> bool:
        """Return whether a trial ends after this epoch; never after its last one."""
