"""The law of joining: a replica that joins others on their way ends as it would alone.

Where numbers must agree to the last bit: beside replicas of its own age, as they would in a
trainer of their own; and after an interruption, wherever it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from joining_runs import (
    EPOCHS,
    IMAGES,
    MLP,
    VECTORS,
    Seen,
    Turn,
    assert_as_alone,
    assert_same,
    assert_same_end,
    data_for,
    family,
    joining,
    predictions,
    small,
    watched,
)
from training_data import CPU, LOSS, replica

from modelscale.data.augmentations.base import AugmentationSpec
from modelscale.data.examples import TensorExamples
from modelscale.data.prepared import Prepared
from modelscale.errors import DataError
from modelscale.models.base import ModelSpec
from modelscale.optimizers.base import OptimizerSpec
from modelscale.optimizers.schedules.base import ScheduleSpec
from modelscale.training import state
from modelscale.training.replica import Replica
from modelscale.training.trainer import (
    Divergence,
    EpochReport,
    Event,
    Moment,
    Paused,
    Trainer,
)

AUGMENT = tuple(
    a
    for a in map(AugmentationSpec.model_validate, AugmentationSpec.kinds())
    if a.form == "images"
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small only lose by waiting for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", ModelSpec.kinds())
def test_replica_that_joins_matches_replica_alone(kind: str) -> None:
    model = small(kind)
    replicas = family(4, data=data_for(model), model=model, optimizer="sgd")
    seen = watched(replicas[:2], joining({1: [replicas[2]], 2: [replicas[3]]}))
    for index, one in enumerate(replicas):
        assert_as_alone(seen, index, one, atol=3e-4)


@pytest.mark.parametrize("kind", OptimizerSpec.kinds())
@pytest.mark.parametrize("hidden", [(16,), (256, 160)])  # elementwise, and one fused row each
def test_optimizer_counts_each_replicas_own_steps(kind: str, hidden: tuple[int, ...]) -> None:
    model = {"kind": "mlp", "hidden": hidden, "dropout": 0.1, "norm": "layer"}
    replicas = family(3, model=model, optimizer=kind)
    seen = watched(replicas[:2], joining({2: [replicas[2]]}))
    for index, one in enumerate(replicas):
        assert_as_alone(seen, index, one, atol=1e-3)


@pytest.mark.parametrize("beta2", [0.5, 0.999])
def test_rule_of_rows_of_different_ages_is_that_of_each_row(beta2: float) -> None:
    spec = OptimizerSpec.model_validate(
        {"kind": "adamw", "lr": 1.0, "beta2": beta2, "beta1": 0.0}
    )
    draws = torch.Generator().manual_seed(0)
    steps = [1, 2, 1000]
    theta_KP, grad_KP = (torch.randn(3, 5, generator=draws) for _ in range(2))
    slots_KP = {name: torch.rand(3, 5, generator=draws) for name in spec.slot_names}
    rows = [theta_P.clone() for theta_P in theta_KP]
    for k, step in enumerate(steps):
        slots = {name: slot_KP[k].clone() for name, slot_KP in slots_KP.items()}
        spec.update(rows[k], grad_KP[k].clone(), slots, spec.hypers(), step)
    step_K1 = torch.tensor(steps, dtype=torch.float32)[:, None]
    spec.update(theta_KP, grad_KP.clone(), slots_KP, spec.hypers(), step_K1)
    torch.testing.assert_close(theta_KP, torch.stack(rows), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ScheduleSpec.kinds())
def test_schedule_follows_each_replicas_own_steps(kind: str) -> None:
    replicas = family(3, scheduler={"kind": kind, "warmup": 0.3}, optimizer="sgd")
    seen = watched(replicas[:1], joining({1: [replicas[1]], 2: [replicas[2]]}))
    for index, one in enumerate(replicas):
        assert_as_alone(seen, index, one, atol=1e-3)


@pytest.mark.parametrize(
    "plan",
    [
        {"ema": 0.9},
        {"ema": 0.3},  # its limit is reached within the first epoch
        {"clip_norm": 0.1},
        {"accumulate": 3},
        {"keep": "last"},
        {"augment": AUGMENT, "model": {"kind": "cnn", "channels": (4, 8)}, "data": IMAGES},
    ],
    ids=lambda plan: next(iter(plan)),
)
def test_every_part_of_the_plan_follows_the_replicas_own_count(plan: dict) -> None:
    replicas = family(4, **plan)
    seen = watched(replicas[:2], joining({1: [replicas[2]], 2: [replicas[3]]}))
    for index, one in enumerate(replicas):
        assert_as_alone(seen, index, one, atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("optimizer", OptimizerSpec.kinds())
@pytest.mark.parametrize("norm", ["layer", "batch"])  # packed, and lifted by vmap
def test_a_new_generation_is_bit_for_bit_that_of_a_trainer_of_its_own(
    norm: str, optimizer: str, count: int, precision: str
) -> None:
    model = MLP | {"norm": norm}
    plan = {"model": model, "optimizer": optimizer, "precision": precision, "ema": 0.9}
    replicas = family(3 + count, **plan)
    seen = watched(replicas[:3], retiring_for({EPOCHS: replicas[3:]}))
    fresh = watched(replicas[3:])
    assert seen.trainer.epoch == 2 * EPOCHS
    for k in range(count):
        assert seen.curves[3 + k] == fresh.curves[k]
        assert_same_end(seen.outcomes[3 + k], fresh.outcomes[k])


def retiring_for(later: dict[int, list[Replica]]) -> Turn:
    """Return a caller that first lets go who has ended, then lets others join."""

    def turn(trainer: Trainer, event: Event) -> None:
        if isinstance(event, EpochReport) and event.epoch in later:
            trainer.retire()
            trainer.join(later[event.epoch])

    return turn


def test_trainer_that_has_ended_goes_on_with_those_who_join() -> None:
    replicas = family(2)
    trainer = Trainer(replicas[:1], (), LOSS, CPU)
    for _ in trainer.run():
        pass
    assert trainer.join(replicas[1:]) == [1]
    reports = [event for event in trainer.run() if isinstance(event, EpochReport)]
    assert [report.epoch for report in reports] == [4, 5, 6]
    assert [report.moments[1].epoch for report in reports] == [1, 2, 3]
    assert_same_end(trainer.outcomes[1], watched(replicas[1:]).outcomes[0])


def test_leaving_and_joining_in_one_turn_fills_the_places() -> None:
    replicas = family(6)
    sizes: list[int] = []

    def turn(trainer: Trainer, event: Event) -> None:
        if isinstance(event, EpochReport):
            sizes.append(len(trainer.cohort))
            if event.epoch == 1:
                trainer.stop([0])
                assert trainer.join([replicas[3]]) == [3]
            if event.epoch == EPOCHS:
                trainer.retire()
                assert sorted(trainer.outcomes) == [0, 1, 2]
                trainer.forget([0, 1, 2])
                assert trainer.join(replicas[4:]) == [4, 5]
                assert trainer.replicas == replicas[3:]
                assert trainer.indices == [3, 4, 5]

    seen = watched(replicas[:3], turn)
    assert sizes == [3, 3, 3, 3, 2, 2]
    assert sorted(seen.outcomes) == [3, 4, 5]
    assert len(seen.curves[0]) == 1
    for index in (3, 4, 5):
        assert_as_alone(seen, index, replicas[index], atol=1e-3)


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_replica_alone_is_joined_and_is_alone_again(norm: str) -> None:
    replicas = family(2, model=MLP | {"norm": norm})
    sizes: list[int] = []

    def turn(trainer: Trainer, event: Event) -> None:
        sizes.append(len(trainer.cohort))
        joining({1: replicas[1:]})(trainer, event)

    seen = watched(replicas[:1], turn)
    assert sizes == [1, 2, 2, 1]
    for index, one in enumerate(replicas):
        assert_as_alone(seen, index, one, atol=1e-3)


def test_early_stopping_and_the_best_epoch_are_by_the_replicas_own_epochs() -> None:
    plan = {"epochs": 8, "early_stopping": {"patience": 1}}
    model = {"kind": "mlp", "norm": "batch"}
    replicas = [
        replica(VECTORS, model, {"kind": "sgd", "lr": lr}, seed=s, **plan)
        for s, lr in enumerate((0.01, 0.5, 0.02, 0.6))
    ]
    seen = watched(replicas[:2], joining({1: replicas[2:3], 3: replicas[3:]}))
    assert seen.outcomes[3].epoch < 8, "the case must stop early to say anything"
    for index, one in enumerate(replicas):
        assert_as_alone(seen, index, one, atol=1e-3)
        wanted = watched([one]).outcomes[0].progress
        got = seen.outcomes[index].progress
        assert (got.best_epoch, got.best_step) == (wanted.best_epoch, wanted.best_step)


def with_bad_row(row: int) -> Prepared:
    """Return data with a value that no mean survives, in one training row."""
    x = VECTORS.x.take(torch.arange(96)).clone()
    x[row, 2] = float("inf")
    return dataclasses.replace(VECTORS, x=TensorExamples(x))


def test_divergence_of_a_joined_replica_says_its_own_moment() -> None:
    (bad,) = family(1, data=with_bad_row(17))
    good = family(3)[1:]
    found: list[Divergence] = []

    def turn(trainer: Trainer, event: Event) -> None:
        joining({2: [bad]})(trainer, event)
        found.extend([event] if isinstance(event, Divergence) else [])

    seen = watched(good, turn)
    (event,), (alone,) = found, [e for e in events_of([bad]) if isinstance(e, Divergence)]
    assert event.moments[2] == alone.moments[0] == Moment(0, alone.step - 1)
    assert event.rows[2] == alone.rows[0]
    assert event.step == alone.step + 2 * bad.steps_per_epoch
    torch.testing.assert_close(
        predictions(good[0], seen.outcomes[2]),
        predictions(good[0], watched([bad]).outcomes[0]),
        rtol=1e-3,
        atol=1e-3,
    )
    for index, one in enumerate(good):
        assert_as_alone(seen, index, one, atol=1e-3)


def events_of(replicas: list[Replica]) -> list[Event]:
    return list(Trainer(replicas, (), LOSS, CPU).run())


@pytest.mark.parametrize("row", [3, 17])
def test_others_join_where_all_have_diverged(row: int) -> None:
    bad, good = family(2, data=with_bad_row(row)), family(4)[2:]

    def turn(trainer: Trainer, event: Event) -> None:
        if isinstance(event, Divergence) and not trainer.living:
            trainer.join(good)
            assert trainer.step == trainer.epoch * trainer.steps_per_epoch >= event.step - 1

    seen, fresh = watched(bad, turn), watched(good)
    assert [o.ending for _, o in sorted(seen.outcomes.items())] == [
        "diverged",
        "diverged",
        "complete",
        "complete",
    ]
    for k in range(2):
        assert seen.curves[2 + k] == fresh.curves[k]
        assert_same_end(seen.outcomes[2 + k], fresh.outcomes[k])


def test_replicas_of_another_structure_or_within_an_epoch_are_refused() -> None:
    trainer = Trainer(family(1), (), LOSS, CPU)
    with pytest.raises(AssertionError):
        trainer.join(family(1, model=MLP | {"hidden": (9,)}))
    assert isinstance(next(trainer.run(lambda _step: True)), Paused)
    with pytest.raises(AssertionError, match="between two epochs"):
        trainer.join(family(1))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("at", range(1, 21))
def test_trainer_with_joined_replicas_goes_on_bit_for_bit(at: int, precision: str) -> None:
    replicas = family(5, ema=0.9, precision=precision)
    total = replicas[0].steps_per_epoch * 5

    def turn(trainer: Trainer, event: Event) -> None:
        if not isinstance(event, EpochReport):
            return
        if event.epoch == 1:
            trainer.stop([0])
            trainer.forget([0])
            trainer.join(replicas[2:4])
        if event.epoch == 2:
            trainer.join(replicas[4:])

    assert total == 20
    assert_same(watched(replicas[:2], turn, at), watched(replicas[:2], turn))


def test_state_of_other_replicas_is_refused() -> None:
    replicas = family(3)
    trainer = Trainer(replicas[:2], (), LOSS, CPU)
    trainer.join(replicas[2:])
    files = state.dump(trainer)
    with pytest.raises(DataError, match="it is of 3 replicas"):
        state.restore(files, replicas[:2], (), LOSS, CPU)


@lru_cache
def alone(seed: int) -> Seen:
    return watched([family(seed + 1)[seed]])


@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_whoever_comes_and_goes_everyone_ends_as_alone(data: st.DataObject) -> None:
    waiting = family(6)
    first = waiting[: data.draw(st.integers(1, 3), "first")]
    # For the first epochs of the clock: who is stopped, by place, and how many join.
    choice = st.tuples(st.sets(st.integers(0, 3), max_size=2), st.integers(0, 2))
    script = data.draw(st.lists(choice, max_size=6), "script")
    at = data.draw(st.none() | st.integers(1, 24), "interrupted at")

    def turn(trainer: Trainer, event: Event) -> None:
        if isinstance(event, EpochReport) and event.epoch <= len(script):
            places, count = script[event.epoch - 1]
            indices = [p.index for k, p in enumerate(trainer.living) if k in places]
            trainer.stop(indices)
            new = waiting[trainer.begun : trainer.begun + count]
            if new:
                trainer.join(new)

    seen = watched(first, turn)
    if at is not None:
        assert_same(watched(first, turn, at), seen)
    for index, outcome in seen.outcomes.items():
        wanted = alone(index)
        assert outcome.ending in {"stopped", "complete"}
        done = len(seen.curves.get(index, []))
        assert outcome.epoch == done == EPOCHS or outcome.ending == "stopped"
        together = zip(seen.curves.get(index, []), wanted.curves[0], strict=False)
        for (moment, values), (own, others) in together:
            assert moment == own
            assert values == pytest.approx(others, rel=1e-2, abs=1e-3)
