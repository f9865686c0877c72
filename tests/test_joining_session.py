"""A session that refills its places, as a search does, ends byte for byte as if undisturbed."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
from joining_runs import family
from training_data import CPU, LOSS

from modelscale.runs.checkpoints import CheckpointStore
from modelscale.runs.metric_log import MetricLog
from modelscale.training.session import Goal, Session, saved_notes
from modelscale.training.stopping import StopRequest
from modelscale.training.trainer import EpochReport

TRIALS, PLACES = 6, 2


class Refilled:
    """Six trials trained in two places; a trial's result is on disk when it is forgotten."""

    def __init__(self, folder: Path, known: list[int], **plan: object) -> None:
        """Begin, or go on with the trials that the newest checkpoint knows."""
        self.folder = folder
        self.trials = family(TRIALS, **plan)
        self.logs = {number: self._log(number) for number in known}
        self.session = Session(
            [self.trials[number] for number in known],
            Goal((), LOSS),
            CPU,
            CheckpointStore(folder / "checkpoints", owner=True),
            list(self.logs.values()),
            StopRequest(),
        )
        self.trainer = self.session.trainer
        self.numbers = dict(zip(self.trainer.indices, known, strict=True))
        self._note()

    def turn(self, event: EpochReport) -> None:
        """Log, give up on every other epoch's first trial, and refill."""
        for index, values in event.values.items():
            line = event.moments[index]._asdict() | values
            self.logs[self.numbers[index]].append(line)
        if event.epoch % 2:
            self.trainer.stop([min(event.values)])
        self.trainer.retire()
        for index in list(self.trainer.outcomes):
            self._finish(index)
        first = self.trainer.begun
        new = list(range(first, min(TRIALS, first + PLACES - len(self.trainer.living))))
        if new:
            self.logs |= {number: self._log(number) for number in new}
            indices = self.session.join(
                [self.trials[number] for number in new], [self.logs[number] for number in new]
            )
            self.numbers |= dict(zip(indices, new, strict=True))
        self._note()

    def _finish(self, index: int) -> None:
        number, outcome = self.numbers.pop(index), self.trainer.outcomes[index]
        result = [outcome.ending, *outcome.weights.theta_KP[0].tolist()]
        (self.folder / f"{number}.json").write_text(json.dumps(result))
        self.session.forget([index], [self.logs.pop(number)])

    def _note(self) -> None:
        known = [self.numbers[index] for index in self.trainer.indices]
        self.session.notes[:] = list(map(str, known))

    def _log(self, number: int) -> MetricLog:
        self.folder.mkdir(exist_ok=True)
        log = MetricLog(self.folder / f"{number}.jsonl")
        log.rewind(0)
        return log


def search(folder: Path, events: int | None = None, *, saving: bool = False) -> bool:
    """Search on until so many events have passed; return whether it came to its end.

    Args:
        folder: Where everything is.
        events: After how many events the process is lost; None for never.
        saving: Whether it saves itself first.
    """
    notes = saved_notes(CheckpointStore(folder / "checkpoints"))
    known = list(range(PLACES)) if notes is None else list(map(int, notes))
    if not known:
        return True
    refilled = Refilled(folder, known, checkpoint_steps=3)
    seen = 0
    for event in islice(refilled.session.run(), events):
        seen += 1
        if isinstance(event, EpochReport):
            refilled.turn(event)
    if saving:
        refilled.session.save()
    return events is None or seen < events


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.json*")}


@pytest.mark.parametrize("saving", [True, False], ids=["stopped", "killed"])
@pytest.mark.parametrize("events", [3, 4, 5])
def test_search_that_refills_its_places_goes_on_byte_for_byte(
    tmp_path: Path, events: int, saving: bool
) -> None:
    assert search(tmp_path / "straight")
    wanted = contents(tmp_path / "straight")
    assert len(wanted) == 2 * TRIALS
    halts = 0
    while not search(tmp_path / "torn", events, saving=saving):
        halts += 1
        assert halts < 40, "it does not come to an end"
    assert halts >= 3
    assert contents(tmp_path / "torn") == wanted


def test_checkpoint_holds_only_those_who_are_not_forgotten(tmp_path: Path) -> None:
    assert saved_notes(CheckpointStore(tmp_path / "checkpoints")) is None
    refilled = Refilled(tmp_path, [0, 1])
    sizes = []
    for event in refilled.session.run():
        if isinstance(event, EpochReport):
            refilled.turn(event)
            refilled.session.save()
            step = refilled.trainer.step
            folder = refilled.session.store.path(step)
            sizes.append((folder / "state.safetensors").stat().st_size)
            assert len(refilled.session.logs) == len(refilled.trainer.replicas) <= PLACES
            assert saved_notes(refilled.session.store) == refilled.session.notes
            assert not (folder / "model.safetensors").exists()
    assert max(sizes) < 1.2 * sizes[0]
    assert refilled.trainer.replicas == []
    assert saved_notes(refilled.session.store) == []
