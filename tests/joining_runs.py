"""Trainings that replicas join and leave, watched from outside, and what must be equal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from training_data import CPU, LOSS, TINY, classes, first_fitting, replica, symbols, windows

from modelscale.data.prepared import Prepared
from modelscale.models.base import ModelSpec
from modelscale.training import state
from modelscale.training.replica import Replica
from modelscale.training.scoring import Values, outputs_of
from modelscale.training.trainer import EpochReport, Event, Moment, Outcome, Trainer

IMAGES, VECTORS = classes((1, 8, 8)), classes((6,))
SYMBOLS, WINDOWS = symbols(), windows()
EPOCHS = 3
MLP = {"kind": "mlp", "hidden": (16,), "dropout": 0.2, "norm": "batch"}

Curve = list[tuple[Moment, Values]]
Turn = Callable[[Trainer, Event], None]


@dataclasses.dataclass
class Seen:
    """A training by replica, wherever in its trainer's list it was: curves and ends."""

    trainer: Trainer
    curves: dict[int, Curve]
    outcomes: dict[int, Outcome]


def small(kind: str) -> ModelSpec:
    """Return a model of the kind, with every field that may differ between replicas set."""
    cls = ModelSpec.of_kind(kind)
    return cls(**{**dict.fromkeys(cls.per_replica, 0.2), **TINY.get(kind, {})})


def data_for(model: ModelSpec) -> Prepared:
    """Return what a model can learn from."""
    return first_fitting(model, VECTORS, IMAGES, SYMBOLS, WINDOWS)


def watched(
    first: list[Replica],
    turn: Turn = lambda _trainer, _event: None,
    at: int | None = None,
) -> Seen:
    """Train to the end, `turn` being the caller's; with `at`, through the saved state there."""
    trainer = Trainer(first, (), LOSS, CPU)
    curves: dict[int, Curve] = {}
    events = trainer.run(lambda step: step == at)
    while (event := next(events, None)) is not None:
        if isinstance(event, EpochReport):
            for index, values in event.values.items():
                curves.setdefault(index, []).append((event.moments[index], dict(values)))
        turn(trainer, event)
        if at is not None and trainer.step == at:
            at, files = None, state.dump(trainer)
            trainer = state.restore(files, trainer.replicas, (), LOSS, CPU)
            assert state.dump(trainer) == files
            events = trainer.run()
    return Seen(trainer, curves, trainer.outcomes)


def joining(later: dict[int, list[Replica]]) -> Turn:
    """Return a caller that lets replicas join after epochs of the clock."""

    def turn(trainer: Trainer, event: Event) -> None:
        if isinstance(event, EpochReport) and event.epoch in later:
            trainer.join(later[event.epoch])

    return turn


def predictions(one: Replica, outcome: Outcome) -> torch.Tensor:
    """Return a trained replica's outputs on its training rows."""
    cohort = Trainer([one], (), LOSS, CPU).cohort
    return outputs_of(cohort, outcome.weights, one.rows[None], shared=True)[0]


def assert_as_alone(seen: Seen, index: int, one: Replica, atol: float) -> None:
    alone = watched([one])
    got, wanted = seen.outcomes[index], alone.outcomes[0]
    assert (got.ending, got.epoch, got.step) == (wanted.ending, wanted.epoch, wanted.step)
    assert [moment for moment, _ in seen.curves[index]] == [m for m, _ in alone.curves[0]]
    for (_, values), (_, others) in zip(seen.curves[index], alone.curves[0], strict=True):
        assert values["lr"] == others["lr"]
        assert values == pytest.approx(others, rel=1e-2, abs=10 * atol)
    torch.testing.assert_close(
        predictions(one, got), predictions(one, wanted), rtol=1e-3, atol=atol
    )


def assert_same_end(got: Outcome, wanted: Outcome) -> None:
    """Check that two ends are equal to the last bit, but for when and where they joined."""
    assert (got.ending, got.epoch, got.step) == (wanted.ending, wanted.epoch, wanted.step)
    origin = {"index": 0, "joined_epoch": 0}
    progress = [dataclasses.replace(o.progress, **origin) for o in (got, wanted)]
    assert progress[0] == progress[1]
    assert torch.equal(got.weights.theta_KP, wanted.weights.theta_KP)
    for name, buffer_K in wanted.weights.buffers_K.items():
        assert torch.equal(got.weights.buffers_K[name], buffer_K), name


def assert_same(got: Seen, wanted: Seen) -> None:
    assert got.curves == wanted.curves
    assert list(got.outcomes) == list(wanted.outcomes)
    assert state.dump(got.trainer) == state.dump(wanted.trainer)


def family(count: int, *, data: Prepared = VECTORS, **wanted: object) -> list[Replica]:
    """Return replicas that differ in seed and learning rate."""
    given = {"model": MLP, "epochs": EPOCHS, "scheduler": {"kind": "cosine", "warmup": 0.3}}
    wanted = given | wanted
    kind = wanted.pop("optimizer", "adamw")
    return [
        replica(data, seed=s, optimizer={"kind": kind, "lr": 0.002 * (s + 1)}, **wanted)
        for s in range(count)
    ]
