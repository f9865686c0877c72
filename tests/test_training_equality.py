"""The law of the trainer: a replica that trains among others ends as it would alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from joining_runs import data_for, small
from training_data import CPU, LOSS, classes, replica, trained

from modelscale.data.augmentations.base import AugmentationSpec
from modelscale.models.base import ModelSpec
from modelscale.optimizers.base import OptimizerSpec
from modelscale.training.replica import Replica
from modelscale.training.scoring import outputs_of
from modelscale.training.trainer import Trainer

IMAGES = classes((1, 8, 8))
VECTORS = classes((6,))


def outputs(trainer: Trainer, index: int) -> torch.Tensor:
    """Return the outputs of one trained replica on its training rows."""
    solo = Trainer([trainer.replicas[index]], (), LOSS, CPU)
    weights = trainer.outcomes[index].weights
    rows = trainer.replicas[index].rows[None]
    return outputs_of(solo.cohort, weights, rows, shared=True)[0]


def assert_equal_alone(replicas: list[Replica], atol: float) -> None:
    together = trained(*replicas)
    for index, one in enumerate(replicas):
        torch.testing.assert_close(
            outputs(together, index), outputs(trained(one), 0), rtol=1e-3, atol=atol
        )


@pytest.mark.parametrize("kind", ModelSpec.kinds())
def test_replica_among_others_matches_replica_alone(kind: str) -> None:
    model = small(kind)
    data = data_for(model)
    replicas = [
        replica(data, model, {"kind": "sgd", "lr": lr}, seed=seed)
        for seed, lr in enumerate([0.003, 0.01, 0.03])
    ]
    assert_equal_alone(replicas, atol=2e-4)


@pytest.mark.parametrize("kind", OptimizerSpec.kinds())
@pytest.mark.parametrize("hidden", [(16,), (256, 160)])  # elementwise, and one fused row each
def test_optimizer_among_others_matches_optimizer_alone(
    kind: str, hidden: tuple[int, ...]
) -> None:
    model = {"kind": "mlp", "hidden": hidden, "dropout": 0.1, "norm": "layer"}
    replicas = [
        replica(
            VECTORS, model, {"kind": kind, "lr": lr}, {"kind": "cosine", "warmup": w}, seed=s
        )
        for s, (lr, w) in enumerate([(1e-3, 0.0), (3e-3, 0.2), (1e-2, 0.4)])
    ]
    assert_equal_alone(replicas, atol=1e-3)


def test_replicas_may_differ_in_rows_weights_and_dropout() -> None:
    weights = [torch.rand(96, generator=torch.Generator().manual_seed(s)) * 2 for s in range(3)]
    rows = [torch.arange(start, start + 40) for start in (0, 8, 20)]
    replicas = [
        replace(
            replica(VECTORS, {"kind": "mlp", "hidden": (16,), "dropout": rate}, seed=seed),
            weights=weight,
            train_rows=row,
        )
        for seed, (rate, weight, row) in enumerate(
            zip((0.1, 0.3, 0.5), weights, rows, strict=True)
        )
    ]
    assert_equal_alone(replicas, atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_lower_precision_works_in_a_cohort(kind: str, precision: str) -> None:
    model = {"kind": kind} | ({"norm": "batch"} if kind == "mlp" else {"width": 4})
    replicas = [replica(IMAGES, model, seed=s, epochs=1, precision=precision) for s in range(2)]
    trainer = trained(*replicas)
    assert [o.ending for o in trainer.outcomes.values()] == ["complete", "complete"]


def test_replicas_may_learn_from_different_folds() -> None:
    shifted = classes((6,), seed=1)
    replicas = [replica(VECTORS, seed=0), replica(shifted, seed=1)]
    assert_equal_alone(replicas, atol=1e-4)


def test_augmented_replica_among_others_matches_replica_alone() -> None:
    kinds = map(AugmentationSpec.model_validate, AugmentationSpec.kinds())
    augment = tuple(kind for kind in kinds if kind.form == "images")
    model = {"kind": "cnn", "channels": (4, 8)}
    replicas = [replica(IMAGES, model, augment=augment, seed=seed) for seed in range(3)]
    assert_equal_alone(replicas, atol=1e-3)


def test_stopped_replicas_leave_the_others_as_they_would_be() -> None:
    replicas = [
        replica(VECTORS, {"kind": "mlp", "hidden": (16,)}, seed=s, epochs=4) for s in range(4)
    ]
    trainer = Trainer(replicas, (), LOSS, CPU)
    for report in trainer.run():
        if report.epoch == 2:
            trainer.stop([0, 2])
    assert [trainer.outcomes[k].ending for k in range(4)] == [
        "stopped",
        "complete",
        "stopped",
        "complete",
    ]
    for index in (1, 3):
        torch.testing.assert_close(
            outputs(trainer, index), outputs(trained(replicas[index]), 0), rtol=1e-4, atol=1e-5
        )


def test_stopped_replicas_cost_no_more_steps() -> None:
    replicas = [replica(VECTORS, seed=s, epochs=6) for s in range(3)]
    trainer = Trainer(replicas, (), LOSS, CPU)
    sizes = []
    for report in trainer.run():
        sizes.append(len(trainer.cohort))
        if report.epoch in (1, 3):
            trainer.stop([min(report.values)])
    assert sizes == [3, 2, 2, 1, 1, 1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler, by itself
def test_compiled_replica_matches_eager_replica() -> None:
    model = {"kind": "mlp", "hidden": (16,), "dropout": 0.2}
    eager = [replica(VECTORS, model, seed=s) for s in range(2)]
    compiled = [replica(VECTORS, model, seed=s, compile=True) for s in range(2)]
    for pair in (1, 2):
        one, other = trained(*eager[:pair]), trained(*compiled[:pair])
        torch.testing.assert_close(outputs(other, 0), outputs(one, 0), rtol=1e-3, atol=1e-3)
