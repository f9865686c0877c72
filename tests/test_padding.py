"""Networks of several widths in one stack: each ends as it would alone, in its own width."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from training_data import CPU, LOSS, classes, replica, trained

from modelscale.training import state
from modelscale.training.cohort import Cohort, build_network
from modelscale.training.grouping import families_of, groups_of
from modelscale.training.layout import Layout
from modelscale.training.padding import widest
from modelscale.training.plan import EarlyStopping, Regularization
from modelscale.training.replica import Replica
from modelscale.training.trainer import Trainer

VECTORS, IMAGES = classes((6,)), classes((1, 8, 8))
HIDDEN = [(5, 12), (16, 3), (9, 9)]
"""The widest is none of them: (16, 12)."""
SETTINGS = [
    {},
    {"dropout": 0.3},
    {"activation": "tanh", "norm": "batch", "dropout": 0.2},
    {"activation": "silu", "members": 3, "dropout": 0.2},
    {"activation": "gelu", "numeric": None},
]
OPTIMIZERS = [
    {"kind": "adam", "lr": 0.01},
    {"kind": "adamw", "lr": 0.01, "weight_decay": 0.1},
    {"kind": "sgd", "lr": 0.03, "momentum": 0.9},
]


def mlps(setting: dict[str, object], optimizer: object = OPTIMIZERS[0]) -> list[Replica]:
    """Return networks of three pairs of widths, from seeds and rates of their own."""
    return [
        replica(VECTORS, {"kind": "mlp", "hidden": hidden} | setting, optimizer, seed=seed)
        for seed, hidden in enumerate(HIDDEN)
    ]


def assert_each_as_alone(replicas: list[Replica], atol: float = 2e-4) -> None:
    together = trained(*replicas)
    for index, one in enumerate(replicas):
        own, alone = together.outcomes[index].weights, trained(one).outcomes[0].weights
        assert own.theta_KP.shape == alone.theta_KP.shape
        torch.testing.assert_close(own.theta_KP, alone.theta_KP, rtol=1e-3, atol=atol)
        assert own.buffers_K.keys() == alone.buffers_K.keys()
        for name, buffer_K in alone.buffers_K.items():
            torch.testing.assert_close(own.buffers_K[name], buffer_K, rtol=1e-3, atol=atol)


@pytest.mark.parametrize("setting", SETTINGS)
def test_narrow_networks_end_as_they_would_alone(setting: dict[str, object]) -> None:
    assert_each_as_alone(mlps(setting))


@pytest.mark.parametrize("optimizer", OPTIMIZERS[1:])
def test_penalties_decay_and_clipping_leave_zeros_alone(optimizer: object) -> None:
    replicas = [
        replace(
            one,
            regularization=Regularization(l1=1e-3, l2=1e-2),
            plan=one.plan.model_copy(update={"clip_norm": 0.5, "ema": 0.9, "batch_size": 7}),
        )
        for one in mlps({"dropout": 0.3}, optimizer)
    ]
    assert_each_as_alone(replicas)


def test_narrow_convolutions_end_as_they_would_alone() -> None:
    replicas = [
        replica(IMAGES, {"kind": "cnn", "channels": c, "dropout": 0.2}, "sgd", seed=seed)
        for seed, c in enumerate([(3, 8), (6, 4)])
    ]
    assert_each_as_alone(replicas, atol=1e-3)


def test_units_beyond_a_networks_own_are_zero_to_the_last() -> None:
    replicas = mlps({"dropout": 0.3}, OPTIMIZERS[1])
    trainer = Trainer(replicas, (), LOSS, CPU)
    for _ in trainer.run():
        weights, cohort = trainer.cohort.weights, trainer.cohort
        for k, one in enumerate(cohort.replicas):
            own = Layout.of(build_network(one)).numel
            assert int((weights.theta_KP[k] != 0).sum()) <= own < cohort.layout.numel


def test_who_leaves_early_does_not_change_the_others() -> None:
    replicas = [
        replace(one, plan=one.plan.model_copy(update={"epochs": 6}))
        for one in mlps({"dropout": 0.2})
    ]
    trainer = Trainer(replicas, (), LOSS, CPU)
    events = trainer.run()
    next(events)
    trainer.stop([0])
    list(events)
    torch.testing.assert_close(
        trainer.outcomes[2].weights.theta_KP,
        trained(replicas[2]).outcomes[0].weights.theta_KP,
        rtol=1e-3,
        atol=2e-4,
    )
    assert trainer.outcomes[0].ending == "stopped"


def test_a_saved_stack_goes_on_bit_by_bit() -> None:
    replicas = [
        replace(
            one,
            plan=one.plan.model_copy(
                update={"epochs": 5, "early_stopping": EarlyStopping(patience=1)}
            ),
        )
        for one in mlps({"dropout": 0.2})
    ]
    whole = trained(*replicas)
    trainer = Trainer(replicas, (), LOSS, CPU)
    events = trainer.run()
    next(events)
    trainer.stop([1])
    files = state.dump(trainer)
    assert json.loads(files[state.FACTS])["outcomes"].keys() == {"1"}
    again = state.restore(files, replicas, (), LOSS, CPU)
    list(again.run())
    assert torch.equal(again.outcomes[0].weights.theta_KP, whole.outcomes[0].weights.theta_KP)
    assert again.outcomes[1].weights.theta_KP.shape == whole.outcomes[1].weights.theta_KP.shape


def test_only_what_zeros_can_fill_up_is_put_together() -> None:
    def mlp(**fields: object) -> Replica:
        return replica(VECTORS, {"kind": "mlp"} | fields)

    replicas = [
        mlp(hidden=(8,)),
        mlp(hidden=(16,)),
        mlp(hidden=(8, 8)),
        mlp(hidden=(8,), norm="layer"),
        mlp(hidden=(16,), norm="layer"),
        mlp(hidden=(8,), dropout=0.1),
        mlp(hidden=(4,), activation="tanh"),
        mlp(hidden=(8,)),
    ]
    assert groups_of(replicas) == [[0, 7], [1], [2], [3], [4], [5], [6]]
    assert families_of(replicas) == [[[1], [0, 7]], [[2]], [[3]], [[4]], [[5]], [[6]]]


def test_the_stack_is_as_wide_as_the_widest_of_each_layer() -> None:
    replicas = mlps({})
    assert widest([one.model for one in replicas]).layer_widths() == (16, 12)
    cohort = Cohort.start(replicas, CPU)
    assert [tuple(shape) for shape in cohort.layout.shapes][::2] == [(16, 6), (12, 16), (3, 12)]
