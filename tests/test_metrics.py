"""Metrics against scikit-learn, one call for many replicas, and their names."""

import warnings
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from modelscale.evaluation.metric_names import (
    default_metrics,
    direction_of,
    metric_for,
    metrics_for,
)
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.evaluation.metrics.calibration_error import CalibrationError

KNOWN = metrics_for("classification") | metrics_for("regression")
CLASSIFICATION = sorted(metrics_for("classification"))
REGRESSION = sorted(metrics_for("regression"))
BROADCAST = [
    (n, C) for n in CLASSIFICATION for C in (2, 4) if C == 2 or not KNOWN[n].binary_only
]
AVERAGES = ["macro", "micro", "weighted"]
few = settings(max_examples=40, deadline=None)


@pytest.fixture(autouse=True)
def one_thread():
    """Many small operations: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@st.composite
def classified(draw, most_classes=5, every_class=False):
    """Draw (predictions (N, C) with many ties, targets (N,))."""
    C = draw(st.integers(2, most_classes))
    N = draw(st.integers(C, 40))
    seed = draw(st.integers(0, 2**32 - 1))
    steps = draw(st.sampled_from([2, 5, 1000]))
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, steps, (N, C)) + 0.5
    predictions = weights / weights.sum(-1, keepdims=True)
    targets = rng.integers(0, C, N)
    if every_class:
        targets[:C] = np.arange(C)
    return torch.from_numpy(predictions), torch.from_numpy(targets)


def compute(name, predictions, targets):
    return KNOWN[name].compute(predictions, targets).item()


@given(classified())
@few
def test_counting_metrics_match_sklearn_with_zero_division_0(drawn):
    predictions, targets = drawn
    found = predictions.argmax(-1).numpy()
    assert compute("accuracy", *drawn) == pytest.approx(oracle.accuracy_score(targets, found))
    with warnings.catch_warnings():  # the oracle warns where classes have no examples
        warnings.simplefilter("ignore", UserWarning)
        balanced = oracle.balanced_accuracy_score(targets, found)
        mcc = oracle.matthews_corrcoef(targets, found)
    assert compute("balanced_accuracy", *drawn) == pytest.approx(balanced)
    assert compute("mcc", *drawn) == pytest.approx(mcc, abs=1e-12)
    for average in AVERAGES:
        suffix = "" if average == "macro" else f"_{average}"
        for name in ("precision", "recall", "f1"):
            expected = getattr(oracle, f"{name}_score")(
                targets, found, average=average, zero_division=0
            )
            assert compute(name + suffix, *drawn) == pytest.approx(expected), (name, average)


@given(classified(most_classes=2))
@few
def test_binary_average_is_of_the_second_class(drawn):
    predictions, targets = drawn
    found = predictions.argmax(-1).numpy()
    for name in ("precision", "recall", "f1"):
        expected = getattr(oracle, f"{name}_score")(targets, found, zero_division=0)
        assert compute(f"{name}_binary", *drawn) == pytest.approx(expected)


@given(classified(every_class=True))
@few
def test_ranking_metrics_match_sklearn_under_ties(drawn):
    predictions, targets = drawn
    scores = predictions.numpy()
    truth = targets.numpy()
    if scores.shape[1] == 2:
        expected_auc = oracle.roc_auc_score(truth, scores[:, 1])
        expected_ap = oracle.average_precision_score(truth, scores[:, 1])
    else:
        expected_auc = oracle.roc_auc_score(truth, scores, multi_class="ovr")
        expected_ap = oracle.average_precision_score(truth, scores)
    assert compute("roc_auc", *drawn) == pytest.approx(expected_auc, abs=1e-12)
    assert compute("average_precision", *drawn) == pytest.approx(expected_ap, abs=1e-12)


@given(classified(every_class=True))
@few
def test_probability_metrics_match_sklearn(drawn):
    predictions, targets = drawn
    labels = list(range(predictions.shape[1]))
    expected = oracle.log_loss(targets, predictions, labels=labels)
    assert compute("log_loss", *drawn) == pytest.approx(expected)
    scores = predictions[:, 1] if len(labels) == 2 else predictions
    assert compute("brier", *drawn) == pytest.approx(oracle.brier_score_loss(targets, scores))


def test_log_loss_of_a_certain_error_is_finite_as_in_sklearn():
    predictions = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    targets = torch.tensor([1, 1])
    expected = oracle.log_loss(targets, predictions.numpy(), labels=[0, 1])
    assert compute("log_loss", predictions, targets) == pytest.approx(expected, rel=1e-6)


@given(classified(), st.sampled_from([1, 2, 10, 15]))
@few
def test_calibration_error_matches_its_definition_bin_by_bin(drawn, bins):
    predictions, targets = (part.numpy() for part in drawn)
    confidence, right = predictions.max(-1), predictions.argmax(-1) == targets
    expected = 0.0
    for b in range(bins):
        inside = (confidence * bins > b) & (confidence * bins <= b + 1)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    error = CalibrationError(bins=bins).compute(*drawn).item()
    assert error == pytest.approx(expected, abs=1e-12)


@given(st.integers(2, 40), st.integers(1, 3), st.integers(0, 2**32 - 1))
@few
def test_regression_metrics_match_sklearn(N, T, seed):
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(N, T)) * 10 + rng.normal() * 100
    predictions = targets + rng.normal(size=(N, T))
    tensors = torch.from_numpy(predictions), torch.from_numpy(targets)
    pairs = {
        "rmse": oracle.root_mean_squared_error,
        "mae": oracle.mean_absolute_error,
        "r2": oracle.r2_score,
        "mape": oracle.mean_absolute_percentage_error,
        "pinball": oracle.mean_pinball_loss,
    }
    elsewhere = ["cmapss_score", "coverage"]  # in test_series.py, and below
    assert sorted([*pairs, *elsewhere]) == REGRESSION
    for name, expected in pairs.items():
        value = compute(name, *tensors)
        assert value == pytest.approx(expected(targets, predictions)), name


@pytest.mark.parametrize(("name", "C"), BROADCAST)
def test_leading_dimensions_broadcast_as_separate_calls(name, C):
    metric = KNOWN[name]
    generator = torch.Generator().manual_seed(0)
    predictions_KNC = torch.rand(2, 3, 30, C, generator=generator).softmax(-1)
    targets_RN = torch.randint(0, C, (3, 30), generator=generator)
    many = metric.compute(predictions_KNC, targets_RN)
    assert many.shape == (2, 3)
    assert many.dtype == torch.float64
    alone = [
        [metric.compute(predictions_KNC[k, r], targets_RN[r]) for r in range(3)]
        for k in range(2)
    ]
    torch.testing.assert_close(many, torch.tensor(alone, dtype=torch.float64))
    one_model = metric.compute(predictions_KNC[0, 0], targets_RN)
    assert one_model.shape == (3,)
    assert one_model[0] == many[0, 0]


@pytest.mark.parametrize("name", REGRESSION)
def test_regression_broadcasts_over_replicas(name):
    metric = metric_for(name, "regression")
    generator = torch.Generator().manual_seed(0)
    predictions_KNT = torch.randn(3, 20, 2, generator=generator)
    targets_NT = torch.randn(20, 2, generator=generator)
    many = metric.compute(predictions_KNT, targets_NT)
    alone = [metric.compute(one, targets_NT) for one in predictions_KNT]
    torch.testing.assert_close(many, torch.stack(alone))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_a_diverged_replica_scores_nan_and_leaves_the_others_alone(name):
    metric = metric_for(name, "classification")
    predictions_KNC = torch.rand(2, 20, 2).softmax(-1)
    targets_N = torch.arange(20) % 2
    alone = metric.compute(predictions_KNC[1], targets_N)
    predictions_KNC[0, 3] = torch.nan
    scores = metric.compute(predictions_KNC, targets_N)
    assert scores[0].isnan()
    assert scores[1] == alone


@pytest.mark.parametrize("name", CLASSIFICATION + REGRESSION)
def test_no_examples_make_nan(name):
    task = "classification" if name in CLASSIFICATION else "regression"
    targets = (
        torch.zeros(0, dtype=torch.int64) if task == "classification" else torch.zeros(0, 2)
    )
    assert np.isnan(compute(name, torch.zeros(0, 2), targets))


def test_what_is_not_defined_is_nan():
    predictions = torch.tensor([[0.2, 0.8], [0.6, 0.4]])
    one_class = torch.tensor([0, 0])
    assert np.isnan(compute("roc_auc", predictions, one_class))
    assert np.isnan(compute("average_precision", predictions, one_class))
    constant = torch.ones(3, 1)
    assert np.isnan(compute("r2", torch.rand(3, 1), constant))
    assert np.isnan(compute("mape", constant, torch.tensor([[1.0], [0.0], [2.0]])))


def test_half_precision_predictions_are_counted_in_float64():
    predictions = torch.rand(5000, 3).softmax(-1)
    targets = torch.arange(5000) % 3
    for name in CLASSIFICATION:
        if not name.endswith("_binary"):
            half = predictions.bfloat16()
            exact = half.double()
            assert compute(name, half, targets) == pytest.approx(
                compute(name, exact, targets), rel=1e-12
            )


def test_binary_average_with_more_classes_says_what_to_use():
    metric = metric_for("f1_binary", "classification")
    assert metric.binary_only
    assert not metric_for("f1", "classification").binary_only
    with pytest.raises(ValueError, match="f1: average 'binary' needs two classes, got 3; use"):
        metric.compute(torch.rand(4, 3), torch.zeros(4, dtype=torch.int64))


def test_labels_tell_arguments_apart():
    labels = [MetricSpec.of_kind("f1")(average=a).label() for a in ("macro", "micro")]
    assert labels == ["f1", "f1_micro"]
    assert [CalibrationError(bins=b).label() for b in (15, 10)] == [
        "calibration_error",
        "calibration_error_10",
    ]
    assert MetricSpec.model_validate({"kind": "recall", "average": "binary"}).label() == (
        "recall_binary"
    )


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ValueError, match="unknown metric 'acuracy'; did you mean 'accuracy'"):
        metric_for("acuracy", "classification")
    with pytest.raises(ValueError, match="metric 'rmse' is for regression, not for classif"):
        metric_for("rmse", "classification")
    with pytest.raises(ValueError, match="unknown metric 'los'; did you mean 'loss'"):
        direction_of("validation/los", "regression")
    with pytest.raises(ValueError, match="unknown part 'valid' in 'valid/loss'; did you mean"):
        direction_of("valid/loss", "regression")


def test_directions_are_known_for_every_metric_and_the_loss():
    assert direction_of("loss", "regression") == "minimize"
    assert direction_of("validation/loss", "classification") == "minimize"
    assert direction_of("test/f1_weighted", "classification") == "maximize"
    assert direction_of("rmse", "regression") == "minimize"
    perfect = torch.eye(3)[torch.arange(30) % 3] * 0.98 + 0.01
    useless = torch.full((30, 3), 0.2)
    useless[:, 0] = 0.6
    targets = torch.arange(30) % 3
    for name in CLASSIFICATION:
        if name.endswith("_binary"):
            continue
        better = compute(name, perfect, targets) > compute(name, useless, targets)
        assert (direction_of(name, "classification") == "maximize") == better, name


def test_defaults_suit_the_task():
    assert [m.label() for m in default_metrics("classification")] == [
        "accuracy",
        "recall",
        "f1",
    ]
    assert [m.label() for m in default_metrics("regression")] == ["rmse", "mae", "r2"]


def test_coverage_of_true_quantiles_is_their_level():
    draw = torch.Generator().manual_seed(0)
    y = torch.randn(4000, 1, generator=draw)
    for level in (0.1, 0.5, 0.95):
        bound = torch.full_like(y, NormalDist().inv_cdf(level))
        found = MetricSpec.model_validate("coverage").compute(bound, y).item()
        assert found == pytest.approx(level, abs=0.02)
    edge = MetricSpec.model_validate("coverage").compute(
        torch.zeros(3, 1), torch.tensor([[0.0], [1], [-1]])
    )
    assert edge.item() == pytest.approx(2 / 3)
