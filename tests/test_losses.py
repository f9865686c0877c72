"""Losses against torch's, scikit-learn's and hand formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from modelscale.losses.base import LossSpec

N, C, T = 12, 4, 3
COUNTS = (40, 30, 20, 10)


def loss(kind, **fields):
    return LossSpec.model_validate({"kind": kind, **fields})


def classes(classes=C, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(N, classes, generator=g), torch.arange(N) % classes


def values(seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(N, T, generator=g) * 3, torch.randn(N, T, generator=g)


# What every kind keeps


def _instances():
    for kind in LossSpec.kinds():
        spec = LossSpec.model_validate(kind)
        if spec.task == "regression":
            yield pytest.param(spec, *values(), id=kind)
            continue
        if spec.task in {"language_model", "pretraining"}:
            nats = values()[0].abs()
            yield pytest.param(spec, nats, torch.zeros(N, 1), id=kind)
            continue
        if spec.task == "transcription":
            frames = torch.randn(N, 8, C, generator=torch.Generator().manual_seed(0))
            said = torch.tensor([[1, 1, 0], [2, 3, 1], [3, 0, 0]]).repeat(N // 3, 1)
            yield pytest.param(spec, frames, said, id=kind)
            continue
        if spec.task == "translation":  # nats, mean nats, whether right; 0 at padding
            written = torch.tensor([[1, 1, 0], [2, 3, 1], [3, 0, 0]]).repeat(N // 3, 1)
            three = torch.rand(N, 3, 3, generator=torch.Generator().manual_seed(0))
            yield pytest.param(spec, three * (written > 0).unsqueeze(-1), written, id=kind)
            continue
        if spec.task == "ranking":
            yield pytest.param(spec, values()[0], torch.zeros(N, 1), id=kind)
            continue
        targets = 2 if kind in {"binary_cross_entropy", "reconstruction"} else C
        y = torch.arange(N) % targets
        outputs = torch.randn(N, spec.outputs(targets), generator=torch.Generator())
        yield pytest.param(spec.resolved((N // targets,) * targets), outputs, y, id=kind)


every_loss = pytest.mark.parametrize(("spec", "outputs", "y"), list(_instances()))


@every_loss
def test_one_call_serves_all_replicas(spec, outputs, y):
    both = spec.per_example(torch.cat([outputs, 2 * outputs]), torch.cat([y, y]))
    assert both.shape == (2 * N,)
    assert both.dtype == torch.float32
    alone = torch.cat([spec.per_example(outputs, y), spec.per_example(2 * outputs, y)])
    torch.testing.assert_close(both, alone)


@every_loss
def test_predictions_broadcast_over_leading_dimensions(spec, outputs, y):
    stacked = spec.predictions(torch.stack([outputs, 2 * outputs]))
    torch.testing.assert_close(stacked[1], spec.predictions(2 * outputs))
    if spec.task == "classification":
        assert stacked.shape == (2, N, int(y.max()) + 1)
        torch.testing.assert_close(stacked.sum(-1), torch.ones(2, N))
    elif spec.task in {"language_model", "pretraining"}:
        assert stacked.shape == (2, N, 1)
    elif spec.task == "transcription":
        assert stacked.shape == (2, N, 8)
    elif spec.task == "translation":
        assert stacked.shape == (2, N, 2)
    else:
        assert stacked.shape == (2, N, T)


@every_loss
def test_gradient_points_away_from_the_optimum(spec, outputs, y):
    outputs = outputs.clone().requires_grad_()
    before = spec.per_example(outputs, y)
    (grad,) = torch.autograd.grad(before.mean(), outputs)
    assert spec.per_example(outputs - 0.1 * N * grad, y).mean() < before.mean()


@every_loss
@pytest.mark.parametrize("scale", [0.0, 1e3])
def test_sure_answers_have_finite_losses_and_gradients(spec, outputs, y, scale):
    outputs = (scale * outputs).requires_grad_()
    losses = spec.per_example(outputs, y)
    (grad,) = torch.autograd.grad(losses.sum(), outputs)
    assert losses.isfinite().all()
    assert (losses >= 0).all()
    assert grad.isfinite().all()
    assert spec.predictions(outputs).isfinite().all()


# Classification


def test_cross_entropy_equals_scikit_learn():
    x, y = classes()
    spec = loss("cross_entropy")
    expected = log_loss(y, spec.predictions(x.double()))
    assert spec.per_example(x, y).mean().item() == pytest.approx(expected, rel=1e-6)


def test_label_smoothing_is_cross_entropy_to_softened_targets():
    x, y = classes()
    soft = 0.9 * F.one_hot(y, C) + 0.1 / C
    expected = -(soft * x.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(
        loss("cross_entropy", label_smoothing=0.1).per_example(x, y), expected
    )


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_class_weights_multiply_the_loss_of_their_class(kind):
    x, y = classes()
    weights = (0.5, 1.0, 2.0, 0.0)
    plain = loss(kind).per_example(x, y)
    weighted = loss(kind, class_weights=weights).per_example(x, y)
    torch.testing.assert_close(weighted, plain * torch.tensor(weights)[y])


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_balanced_weights_equal_scikit_learn(kind):
    y = np.repeat(np.arange(C), COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(C), y=y)
    spec = loss(kind, class_weights="balanced").resolved(COUNTS)
    assert spec.class_weights == pytest.approx(tuple(expected))
    assert spec.resolved(COUNTS) == spec
    assert LossSpec.model_validate(spec.model_dump()) == spec


def test_balanced_weight_of_a_class_without_examples_is_one():
    spec = loss("cross_entropy", class_weights="balanced").resolved((6, 0, 2))
    assert spec.class_weights == pytest.approx((8 / 18, 1.0, 8 / 6))


def test_weights_used_while_predicting_can_still_train():
    x, y = classes()
    spec = loss("cross_entropy", class_weights=(1.5, 2.5, 3.5, 4.5))
    with torch.inference_mode():
        spec.per_example(x, y)
    x.requires_grad_()
    spec.per_example(x, y).mean().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_wrong_number_of_class_weights_is_refused(kind):
    spec = loss(kind, class_weights=(1.0, 2.0))
    with pytest.raises(ValueError, match="class_weights has 2 numbers for 4 classes"):
        spec.resolved(COUNTS)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((0.0, 0.0), "class_weights must not all be 0"),
        ((-1.0, 1.0), "greater than or equal to 0"),
        ("balance", "'none' or 'balanced'"),
    ],
)
def test_impossible_class_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        loss("cross_entropy", class_weights=weights)


def test_binary_cross_entropy_equals_cross_entropy_of_two_outputs():
    x, y = classes(classes=2)
    odds = x[:, 1:] - x[:, :1]
    binary, softmax = loss("binary_cross_entropy"), loss("cross_entropy")
    assert binary.outputs(2) == 1
    torch.testing.assert_close(binary.per_example(odds, y), softmax.per_example(x, y))
    torch.testing.assert_close(binary.predictions(odds), softmax.predictions(x))


def test_pos_weight_equals_torch():
    x, y = classes(classes=2)
    expected = F.binary_cross_entropy_with_logits(
        x[:, 0], y.float(), pos_weight=torch.tensor(3.0), reduction="none"
    )
    spec = loss("binary_cross_entropy", pos_weight="balanced").resolved((30, 10))
    assert spec.pos_weight == 3.0
    torch.testing.assert_close(spec.per_example(x[:, :1], y), expected)


def test_binary_cross_entropy_refuses_three_classes():
    for use in (lambda s: s.outputs(3), lambda s: s.resolved((1, 2, 3))):
        with pytest.raises(ValueError, match="for two classes, not 3; use cross_entropy"):
            use(loss("binary_cross_entropy"))


@settings(max_examples=50, deadline=None)
@given(gamma=st.floats(0, 5), seed=st.integers(0, 100))
def test_focal_equals_the_formula_of_the_paper(gamma, seed):
    x, y = classes(seed=seed)
    p = x.double().softmax(-1)[torch.arange(N), y]
    torch.testing.assert_close(
        loss("focal", gamma=gamma).per_example(x, y),
        (-((1 - p) ** gamma) * p.log()).float(),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_gradient_is_finite_at_certainty(gamma):
    x = torch.tensor([[200.0, 0.0], [0.0, 0.0]], requires_grad=True)
    loss("focal", gamma=gamma).per_example(x, torch.tensor([0, 1])).sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad[0].abs().max() == 0


# Regression: an error of 1 and one of 3, averaged over the two target values


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (loss("mean_squared_error"), (1 + 9) / 2),
        (loss("mean_absolute_error"), (1 + 3) / 2),
        (loss("huber"), (0.5 + (3 - 0.5)) / 2),
        (loss("huber", delta=2.0), (0.5 + 2 * (3 - 1)) / 2),
    ],
    ids=lambda v: v.own_kind() if isinstance(v, LossSpec) else "",
)
def test_regression_losses_equal_the_hand_formula(spec, expected):
    found = spec.per_example(torch.tensor([[1.0, 5.0]]), torch.tensor([[2.0, 2.0]]))
    assert found.item() == pytest.approx(expected)


def test_huber_nears_its_limits():
    x, y = values()
    torch.testing.assert_close(
        2 * loss("huber", delta=1e6).per_example(x, y),
        loss("mean_squared_error").per_example(x, y),
    )
    torch.testing.assert_close(
        loss("huber", delta=1e-4).per_example(x, y) / 1e-4,
        loss("mean_absolute_error").per_example(x, y),
        atol=1e-3,
        rtol=1e-3,
    )


def test_loss_of_chance_is_the_logarithm_of_the_number_of_classes():
    found = loss("cross_entropy").per_example(torch.zeros(1, C), torch.tensor([2]))
    assert found.item() == pytest.approx(math.log(C))
