"""The family of rules that stop trials early. Optuna calls them pruners."""

from __future__ import annotations

from abc import abstractmethod

from modelscale.components import Component


class EarlyStopSpec(Component):
    """Which trials of a search are given up before their last epoch."""

    @abstractmethod
    def stops(self, epoch: int, epochs: int, score: float, rivals: list[float]) -> bool:
        """Return whether a trial ends after this epoch.

        Args:
            epoch: 1 after the first pass.
            epochs: Passes of a whole trial.
            score: The trial's metric now; larger is better, whatever the metric.
            rivals: The same metric of all trials that reached this epoch, this one included.
        """
