"""What a search knows: the records of its trials and what was measured of them by epoch."""

from __future__ import annotations

import math

from modelscale.commands.aims import Aims
from modelscale.runs.metric_log import read
from modelscale.runs.part import METRICS, RESULT, RunPart
from modelscale.runs.trials import (
    TRIAL_FILE,
    TrialRecord,
    finish_trial,
    read_trial,
    read_trials,
    trial_folder,
)
from modelscale.tuning.history import Finished
from modelscale.tuning.space import Params

Curve = dict[int, dict[str, float]]  # what was measured, by epoch


class Ledger:
    """The trials of a search, as the folders of trials have them.

    Attributes:
        records: The finished trials by number.
        begun: Parameters by number, of all trials that ever began.
        curves: What was measured by epoch, of finished trials and of those in training here.
        static: What was measured of the network before training.
    """

    def __init__(self, place: RunPart, aims: Aims) -> None:
        self.place, self.aims = place, aims
        self.records: dict[int, TrialRecord] = {}
        self.begun: dict[int, Params] = {}
        self.curves: dict[int, Curve] = {}
        self.static: dict[int, dict[str, float]] = {}
        for record in read_trials(place.path):
            self._take(record)

    @property
    def seconds(self) -> float:
        """Training time of all finished trials, whoever trained them."""
        return math.fsum(record.seconds or 0.0 for record in self.records.values())

    def refresh(self, numbers: range) -> list[TrialRecord]:
        """Read what other processes have written of some trials; return what is finished new.

        Raises:
            DataError: If a trial's file is damaged.
        """
        found = []
        for number in numbers:
            if number in self.records:
                continue
            folder = trial_folder(self.place.path, number)
            done = (folder / RESULT).exists()
            if not done and (number in self.begun or not (folder / TRIAL_FILE).exists()):
                continue
            record = read_trial(folder)
            if record is not None and self._take(record):
                found.append(record)
        return found

    def finish(self, part: RunPart, record: TrialRecord) -> bool:
        """Let a trial's result count, and return whether it does; an earlier one stands."""
        if record.number in self.records:
            return False
        finish_trial(part, record)
        return self._take(record)

    def _take(self, record: TrialRecord) -> bool:
        number = record.number
        self.begun[number] = record.params
        if record.state == "running":
            return False
        self.records[number] = record
        self.curves[number] = self.logged(number)
        self.static[number] = dict(record.result.get("static", {}))
        return True

    def logged(self, number: int) -> Curve:
        """Return what was measured of a trial by epoch, as its own log has it."""
        lines = read(trial_folder(self.place.path, number) / METRICS)
        return {
            line["epoch"]: {
                key: math.nan if value is None else value
                for key, value in line.items()
                if key not in {"step", "epoch", "nonfinite"}
            }
            for line in lines
        }

    def finished(self, number: int) -> Finished:
        """Return a finished trial as samplers need it."""
        record = self.records[number]
        assert record.state != "running"
        missed = tuple(math.inf if amount is None else amount for amount in record.constraints)
        curve = self.first_curve(number)
        return Finished(record.params, record.values, record.state, curve, missed)

    def first_curve(self, number: int) -> dict[int, float]:
        """Return the first objective by epoch, where it is one that epochs have."""
        name = self.aims.names[0]
        return {e: v[name] for e, v in self.curves[number].items() if name in v}
