"""What a step does, against hand formulas, torch's optimizers and closed-form answers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_data import CPU, LOSS, classes, replica, trained, values

from modelscale.data.augmentations.base import AugmentationSpec
from modelscale.optimizers.base import OptimizerSpec
from modelscale.training.batches import Epoch, dropout_noise
from modelscale.training.cohort import Cohort
from modelscale.training.grouping import CohortSpeed, best_size, divide, groups_of
from modelscale.training.plan import EarlyStopping, Regularization
from modelscale.training.step import Stepper, learning_rate
from modelscale.training.trainer import Divergence, EpochReport, Trainer

TORCH = {
    "sgd": lambda p: torch.optim.SGD([p], lr=0.03, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD([p], lr=0.03, momentum=0.9, nesterov=True),
    "gd": lambda p: torch.optim.SGD([p], lr=0.03),
    "adam": lambda p: torch.optim.Adam([p], lr=0.03, betas=(0.8, 0.99), eps=1e-6),
    "adamw": lambda p: torch.optim.AdamW([p], lr=0.03, betas=(0.8, 0.99), weight_decay=0.1),
}
OURS = {
    "sgd": {"kind": "sgd", "lr": 0.03, "momentum": 0.9},
    "nesterov": {"kind": "sgd", "lr": 0.03, "momentum": 0.9, "nesterov": True},
    "gd": {"kind": "gd", "lr": 0.03},
    "adam": {"kind": "adam", "lr": 0.03, "beta1": 0.8, "beta2": 0.99, "eps": 1e-6},
    "adamw": {"kind": "adamw", "lr": 0.03, "beta1": 0.8, "beta2": 0.99, "weight_decay": 0.1},
}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("fused", [False, True])
def test_optimizer_takes_the_steps_of_torchs(name: str, fused: bool) -> None:
    spec = OptimizerSpec.model_validate(OURS[name])
    draws = torch.Generator().manual_seed(0)
    theirs = torch.nn.Parameter(torch.randn(50, generator=draws))
    ours = theirs.detach().clone()[None]
    optimizer = TORCH[name](theirs)
    slots = {slot: torch.zeros_like(ours) for slot in spec.slot_names}
    for step in range(1, 30):
        grad = torch.randn(50, generator=draws)
        theirs.grad = grad.clone()
        optimizer.step()
        rows = [spec.hypers()]
        done = fused and spec.update_rows(ours, grad.clone()[None], slots, rows, [step])
        if not done:
            spec.update(ours, grad.clone()[None], slots, spec.hypers(), step)
    torch.testing.assert_close(ours[0], theirs.detach(), rtol=1e-4, atol=1e-5)


def test_l2_and_l1_are_gradients_of_the_penalty_on_weights_alone() -> None:
    data = values()
    lr, l1, l2 = 0.1, 0.02, 0.3
    plain = replica(data, optimizer={"kind": "gd", "lr": lr}, epochs=1)
    penalised = replace(plain, regularization=Regularization(l1=l1, l2=l2))
    start = Cohort.start([plain], CPU).weights.theta_KP[0].clone()
    moved = [trained(r).outcomes[0].weights.theta_KP[0] for r in (plain, penalised)]
    weight, bias = slice(0, 4), slice(4, 5)  # the linear layer's order
    expected = -lr * (2 * l2 * start[weight] + l1 * start[weight].sign())
    torch.testing.assert_close((moved[1] - moved[0])[weight], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(moved[1][bias], moved[0][bias])


def test_full_batch_descent_with_l2_ends_at_ridge_regression() -> None:
    data, l2 = values(noise=0.5), 0.05
    one = replica(
        data,
        optimizer={"kind": "gd", "lr": 0.1},
        regularization=Regularization(l2=l2),
        epochs=600,
    )
    theta = trained(one).outcomes[0].weights.theta_KP[0].double()
    x, y = data.x.x.double(), data.y.double()
    centred, n = x - x.mean(0), len(x)
    gram = centred.T @ centred + n * l2 * torch.eye(4, dtype=torch.float64)
    weight = torch.linalg.solve(gram, centred.T @ (y - y.mean(0)))[:, 0]
    bias = y.mean() - x.mean(0) @ weight
    torch.testing.assert_close(theta[:4], weight, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(theta[4], bias, rtol=1e-4, atol=1e-4)


def test_accumulated_batches_make_the_step_of_one_large_batch() -> None:
    data = classes()
    optimizer = {"kind": "sgd", "lr": 0.1}
    whole = replica(data, optimizer=optimizer, batch_size=32)
    pieces = replica(data, optimizer=optimizer, batch_size=8, accumulate=4)
    assert whole.steps_per_epoch == pieces.steps_per_epoch
    ends = [trained(r).outcomes[0].weights.theta_KP for r in (whole, pieces)]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-5, atol=1e-6)


def test_weights_scale_the_gradient_of_their_examples() -> None:
    data = classes()
    doubled = replace(
        replica(data, optimizer={"kind": "sgd", "lr": 0.05}), weights=torch.full((96,), 2.0)
    )
    faster = replica(data, optimizer={"kind": "sgd", "lr": 0.1})
    ends = [trained(r).outcomes[0].weights.theta_KP for r in (doubled, faster)]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-5, atol=1e-6)


def test_an_example_of_weight_zero_teaches_nothing() -> None:
    data = classes()
    weights = torch.ones(96)
    weights[7] = 0
    changed = classes()
    changed.x.x[7] = 100.0
    ends = [
        trained(replace(replica(d), weights=weights)).outcomes[0].weights.theta_KP
        for d in (data, changed)
    ]
    torch.testing.assert_close(ends[0], ends[1])


def test_clipping_bounds_the_length_of_the_step() -> None:
    data = values()
    one = replica(data, optimizer={"kind": "gd", "lr": 1.0}, epochs=1, clip_norm=0.01)
    start = Cohort.start([one], CPU).weights.theta_KP[0].clone()
    moved = trained(one).outcomes[0].weights.theta_KP[0] - start
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_moving_average_is_what_is_kept() -> None:
    data = values()
    plain = replica(data, optimizer={"kind": "gd", "lr": 0.05}, epochs=3)
    averaged = replica(data, optimizer={"kind": "gd", "lr": 0.05}, epochs=3, ema=0.9)
    average = Cohort.start([plain], CPU).weights.theta_KP[0].clone()
    trainer = Trainer([plain], (), LOSS, CPU)
    for report in trainer.run():
        decay = min(0.9, (1 + report.step) / (10 + report.step))
        average.lerp_(trainer.cohort.weights.theta_KP[0], 1 - decay)
    kept = trained(averaged).outcomes[0].weights.theta_KP[0]
    torch.testing.assert_close(kept, average)


def test_best_epoch_is_kept_and_early_stopping_ends_training() -> None:
    data = classes(count=60)
    one = replica(
        data,
        {"kind": "mlp", "hidden": (64,)},
        {"kind": "adam", "lr": 0.05},
        epochs=60,
        early_stopping=EarlyStopping(patience=3),
    )
    trainer = Trainer([one], (), LOSS, CPU)
    losses = [
        e.values[0]["validation/loss"] for e in trainer.run() if isinstance(e, EpochReport)
    ]
    outcome = trainer.outcomes[0]
    best = min(range(len(losses)), key=losses.__getitem__) + 1
    assert outcome.progress.best_epoch == best
    assert outcome.epoch == best + 3 == len(losses) < 60


def test_training_part_is_all_that_is_learnt_from() -> None:
    data, other = classes(), classes()
    other.x.x[data.rows["test"]] = 9.0
    other.x.x[data.rows["validation"]] = -9.0
    last = [
        trained(replica(d, keep="last")).outcomes[0].weights.theta_KP for d in (data, other)
    ]
    assert torch.equal(last[0], last[1])


def test_every_row_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    one = replica(classes(), batch_size=10)
    seen = []
    for epoch in range(2):
        order = Epoch([one], [epoch], CPU).order_KN[0]
        assert sorted(order.tolist()) == one.rows.tolist()
        seen.append(order.tolist())
    assert seen[0] != seen[1]
    assert seen[0] == Epoch([one], [0], CPU).order_KN[0].tolist()


@pytest.mark.parametrize("augment", [(), ("mixup",)])
def test_replicas_of_one_seed_see_together_what_each_sees_alone(
    augment: tuple[str, ...],
) -> None:
    kinds = tuple(map(AugmentationSpec.model_validate, augment))
    first = replica(classes(), batch_size=16, accumulate=2, augment=kinds, seed=3)
    alike = [first, replace(first, optimizer=OptimizerSpec.model_validate("adam"))]
    other = replace(first, seed=4)
    (alone,), (stranger,) = ([Epoch([r], [1], CPU).batches(1)] for r in (first, other))
    together = Epoch(alike, [1, 1], CPU).batches(1)
    mixed = Epoch([*alike, other], [1, 1, 1], CPU).batches(1)
    assert len(together) == len(alone) == 2
    for own, both, three, third in zip(alone, together, mixed, stranger, strict=True):
        for part, pair, triple, last in zip(own, both, three, third, strict=True):
            if part is None:
                assert pair is triple is None
                continue
            assert torch.equal(pair, torch.cat([part, part]))
            assert torch.equal(triple, torch.cat([part, part, last]))
    noise = [dropout_noise(r, [5] * len(r), [9] * len(r), CPU) for r in ([first], alike)]
    assert torch.equal(noise[1], torch.cat([noise[0], noise[0]]))


def test_learning_rate_follows_warmup_and_schedule() -> None:
    one = replica(
        classes(),
        optimizer={"kind": "sgd", "lr": 2.0},
        scheduler={"kind": "cosine", "warmup": 0.5},
    )
    total = one.total_steps
    for step in range(1, total + 1):
        ramp = min(1.0, step / (0.5 * total))
        cosine = 0.5 * (1 + math.cos(math.pi * (step - 1) / total))
        assert learning_rate(one, step) == pytest.approx(2.0 * ramp * cosine)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_learns_what_fp32_learns(precision: str) -> None:
    data = classes(count=240)
    model = {"kind": "mlp", "hidden": (32,)}
    final = {}
    for name in ("fp32", precision):
        one = replica(data, model, {"kind": "adam", "lr": 0.01}, epochs=15, precision=name)
        final[name] = trained(one).outcomes[0].progress.best_values["validation/loss"]
    assert final[precision] == pytest.approx(final["fp32"], abs=0.06)


def test_divergence_is_found_before_the_step_and_names_its_rows() -> None:
    data = values()
    data.y[11] = math.inf
    bad, good = replica(data, batch_size=20, seed=0), replica(values(), batch_size=20, seed=1)
    trainer = Trainer([bad, good], (), LOSS, CPU)
    start = trainer.cohort.weights.theta_KP[0].clone()
    events = list(trainer.run())
    found = next(e for e in events if isinstance(e, Divergence))
    assert 11 in found.rows[0]
    assert trainer.outcomes[0].ending == "diverged"
    if found.step == 1:
        torch.testing.assert_close(trainer.outcomes[0].weights.theta_KP[0], start)
    torch.testing.assert_close(
        trainer.outcomes[1].weights.theta_KP, trained(good).outcomes[0].weights.theta_KP
    )


def test_a_step_of_finite_numbers_changes_nothing_of_a_diverged_replica() -> None:
    data = values()
    data.y[:] = math.nan
    cohort = Cohort.start([replica(data, seed=0), replica(data, seed=1)], CPU)
    before = cohort.weights.theta_KP.clone()
    report = Stepper(cohort).take(Epoch(cohort.replicas, [0, 0], CPU).batches(0), [1, 1])
    assert report.finite == [False, False]
    assert torch.equal(cohort.weights.theta_KP, before)


@given(st.integers(1, 200), st.integers(1, 64))
def test_cohorts_cover_everyone_in_like_sizes(count: int, size: int) -> None:
    cohorts = divide(list(range(count)), size)
    assert [index for cohort in cohorts for index in cohort] == list(range(count))
    sizes = [len(cohort) for cohort in cohorts]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert len(cohorts) == -(-count // size)


def test_only_replicas_of_equal_structure_share_a_cohort() -> None:
    data = classes()
    hidden = {"kind": "mlp", "hidden": (16,)}
    replicas = [
        replica(data, hidden, {"kind": "adam", "lr": 1e-3}),
        replica(data, {"kind": "mlp", "hidden": (32,)}),
        replica(data, hidden, {"kind": "adam", "lr": 1e-2}, seed=5),
        replica(data, hidden, "sgd"),
        replica(data, hidden, batch_size=8),
        replica(data, hidden | {"dropout": 0.1}),
        replica(data, hidden | {"dropout": 0.4}),
    ]
    assert groups_of(replicas) == [[0, 2], [1], [3], [4], [5, 6]]


def test_cohort_is_used_only_where_it_is_clearly_faster() -> None:
    assert best_size([CohortSpeed(1, 1.0), CohortSpeed(4, 0.97)]) == 1
    assert best_size([CohortSpeed(1, 1.0), CohortSpeed(4, 0.5), CohortSpeed(8, 0.6)]) == 4
