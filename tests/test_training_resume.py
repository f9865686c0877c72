"""The law of resuming: state that was written and read back ends bit for bit as if it had not.

Every kind of model and of optimizer is tested here unasked, in every precision of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_data import (
    CPU,
    LOSS,
    TINY,
    classes,
    first_fitting,
    replica,
    series,
    symbols,
    trained,
    windows,
)

from modelscale.data.augmentations.base import AugmentationSpec
from modelscale.errors import DataError
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.models.base import ModelSpec
from modelscale.optimizers.base import OptimizerSpec
from modelscale.optimizers.schedules.base import ScheduleSpec
from modelscale.training import state
from modelscale.training.cohort import Weights
from modelscale.training.replica import Replica
from modelscale.training.trainer import EpochReport, Event, Paused, Trainer

FORMS = {
    "vector": classes((6,), 60),
    "image": classes((1, 8, 8), 60),
    "symbols": symbols(60),
    "windows": windows(60),
}
METRICS = (MetricSpec.model_validate("accuracy"),)
SMALL = {"hidden": (8,), "channels": (4,), "width": (4, 8, 0.25), "blocks": (1,), "heads": (2,)}
COMBINATIONS = list(product(ModelSpec.kinds(), OptimizerSpec.kinds(), ("fp32", "bf16")))
SOME = [c for c in COMBINATIONS if c[0] == "mlp" or c[1:] == ("adamw", "fp32")]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small only lose by waiting for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small(kind: str) -> ModelSpec:
    """Return a model of a kind with noise and norms, as small as its fields allow."""
    cls = ModelSpec.of_kind(kind)
    wanted: dict[str, object] = dict.fromkeys(cls.per_replica, 0.3) | TINY.get(kind, {})
    offers = {"norm": ("batch",), **SMALL}
    for name in [n for n in offers if n in cls.model_fields and n not in wanted]:
        for value in (*offers[name], (offers[name][0],)):
            try:
                cls(**{**wanted, name: value})
            except ValueError:
                continue
            wanted[name] = value
            break
    return cls(**wanted)


def cohort(model: ModelSpec, optimizer: str, count: int, **plan: object) -> list[Replica]:
    data = first_fitting(model, *FORMS.values())
    spec = OptimizerSpec.model_validate(optimizer)
    chosen: dict[str, object] = {"epochs": 3, "batch_size": 16, "ema": 0.9} | plan
    schedule = {"kind": "cosine", "warmup": 0.2}
    return [replica(data, model, spec, schedule, seed=seed, **chosen) for seed in range(count)]


def finished(
    replicas: list[Replica],
    at: int | None = None,
    turn: Callable[[Trainer, Event], None] = lambda _trainer, _event: None,
) -> tuple[Trainer, list[Event]]:
    """Train to the end; with `at`, write and read back the state after that step.

    Every event is told to `turn`, which may act as a caller does.
    """
    events: list[Event] = []
    metrics = METRICS if replicas[0].data.task == "classification" else ()
    trainer = Trainer(replicas, metrics, LOSS, CPU)
    stretch = trainer.run(lambda step: step == at)
    while (event := next(stretch, None)) is not None:
        turn(trainer, event)
        if not isinstance(event, Paused):
            events.append(event)
        if at is not None and trainer.step == at:
            at = None
            trainer = state.restore(state.dump(trainer), replicas, metrics, LOSS, CPU)
            stretch = trainer.run()
    return trainer, events


def assert_equal_ends(
    straight: tuple[Trainer, list[Event]], resumed: tuple[Trainer, list[Event]]
) -> None:
    assert straight[1] == resumed[1]
    assert straight[0].outcomes.keys() == resumed[0].outcomes.keys()
    for index, wanted in straight[0].outcomes.items():
        got = resumed[0].outcomes[index]
        assert (got.ending, got.epoch, got.step) == (wanted.ending, wanted.epoch, wanted.step)
        assert got.progress == wanted.progress
        assert_same_bits(got.weights, wanted.weights)
    assert_same_bits(straight[0].shown(), resumed[0].shown())


def assert_same_bits(a: Weights, b: Weights) -> None:
    assert torch.equal(a.theta_KP, b.theta_KP)
    assert a.buffers_K.keys() == b.buffers_K.keys()
    assert all(torch.equal(a.buffers_K[name], b.buffers_K[name]) for name in a.buffers_K)


@pytest.mark.parametrize(
    ("model", "optimizer", "precision"), SOME, ids=["-".join(c) for c in SOME]
)
def test_every_model_and_optimizer_goes_on_bit_for_bit(
    model: str, optimizer: str, precision: str
) -> None:
    spec = small(model)
    replicas = cohort(spec, optimizer, 1, precision=precision, epochs=2)
    total = replicas[0].total_steps
    assert_equal_ends(finished(replicas), finished(replicas, 1 + hash_of(model) % (total - 1)))


def hash_of(text: str) -> int:
    """Return a number that is the same in every process."""
    return sum(text.encode())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "optimizer", "precision"), COMBINATIONS, ids=["-".join(c) for c in COMBINATIONS]
)
def test_every_combination_goes_on_bit_for_bit_from_any_step(
    model: str, optimizer: str, precision: str
) -> None:
    solo, pair = (
        cohort(small(model), optimizer, count, precision=precision) for count in (1, 2)
    )
    straight = {1: finished(solo), 2: finished(pair)}

    @settings(max_examples=6, deadline=None, derandomize=True)
    @given(at=st.integers(1, solo[0].total_steps), count=st.sampled_from((1, 2)))
    def check(at: int, count: int) -> None:
        assert_equal_ends(straight[count], finished(solo if count == 1 else pair, at))

    check()


@settings(max_examples=12, deadline=None, derandomize=True)
@given(at=st.integers(1, 9), count=st.integers(1, 3), accumulate=st.integers(1, 2))
def test_cohort_goes_on_bit_for_bit_from_any_step(at: int, count: int, accumulate: int) -> None:
    model = ModelSpec.model_validate({"kind": "mlp", "norm": "batch", "dropout": 0.3})
    replicas = cohort(model, "adamw", count, accumulate=accumulate, clip_norm=1.0)
    at = min(at, replicas[0].total_steps)
    assert_equal_ends(finished(replicas), finished(replicas, at))


@pytest.mark.parametrize("at", [1, 4, 7])
def test_loss_scale_of_half_precision_goes_on(at: int) -> None:
    replicas = cohort(ModelSpec.model_validate("mlp"), "sgd", 2, precision="fp16")
    assert_equal_ends(finished(replicas), finished(replicas, at))


@pytest.mark.parametrize("kind", ScheduleSpec.kinds())
def test_every_schedule_goes_on_where_it_was(kind: str) -> None:
    replicas = [replica(FORMS["vector"], "mlp", "sgd", {"kind": kind, "warmup": 0.3}, epochs=3)]
    assert_equal_ends(finished(replicas), finished(replicas, 5))


@pytest.mark.parametrize("kind", AugmentationSpec.kinds())
def test_every_augmentation_goes_on_with_the_same_draws(kind: str) -> None:
    augment = (AugmentationSpec.model_validate(kind),)
    data = series(60) if augment[0].form == "series" else FORMS["image"]
    replicas = [replica(data, "mlp", "sgd", augment=augment, epochs=3)]
    assert_equal_ends(finished(replicas), finished(replicas, 4))


@pytest.mark.parametrize("at", range(1, 10))
def test_replicas_that_the_caller_stopped_stay_stopped(at: int) -> None:
    replicas = cohort(ModelSpec.model_validate("mlp"), "adam", 3)

    def turn(trainer: Trainer, event: Event) -> None:
        if isinstance(event, EpochReport):
            trainer.stop([event.epoch - 1] if event.epoch < 3 else [])

    assert_equal_ends(finished(replicas, turn=turn), finished(replicas, at, turn))


@pytest.mark.parametrize("at", range(2, 15))
def test_early_stopping_ends_in_the_same_epoch(at: int) -> None:
    replicas = [
        replica(
            FORMS["vector"],
            {"kind": "mlp", "norm": "batch"},
            {"kind": "sgd", "lr": lr},
            epochs=8,
            early_stopping={"patience": 1},
        )
        for lr in (0.5, 0.01)
    ]
    straight = finished(replicas)
    ends = [straight[0].outcomes[index].epoch for index in (0, 1)]
    assert min(ends) < 5, "the case must stop early to say anything"
    assert_equal_ends(straight, finished(replicas, at))


def test_restored_trainer_writes_the_same_state() -> None:
    replicas = cohort(small("mlp"), "adamw", 2)
    trainer = Trainer(replicas, METRICS, LOSS, CPU)
    next(trainer.run(lambda step: step == 2))
    files = state.dump(trainer)
    assert state.dump(state.restore(files, replicas, METRICS, LOSS, CPU)) == files


def test_state_of_another_shape_is_refused() -> None:
    trainer = Trainer(cohort(small("mlp"), "adam", 1), METRICS, LOSS, CPU)
    files = state.dump(trainer)
    others = cohort(ModelSpec.model_validate({"kind": "mlp", "hidden": (9,)}), "adam", 1)
    with pytest.raises(DataError, match="does not fit this spec"):
        state.restore(files, others, METRICS, LOSS, CPU)


def test_training_does_not_touch_the_global_random_numbers() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    trained(*cohort(small("mlp"), "adam", 2))
    assert torch.equal(torch.random.get_rng_state(), before)
